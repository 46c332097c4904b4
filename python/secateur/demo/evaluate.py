"""What a model answers on documents, and how often that is right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from secateur.demo.data import Corpus
from secateur.demo.progress import quiet, stage

BATCH = 16


@dataclass(frozen=True)
class Answers:
    """Predicted and true classes, int64 [documents] both, in an order set by the corpus alone."""

    predicted: Tensor
    labels: Tensor

    @property
    def accuracy(self) -> float:
        """Fraction of documents that are right."""
        return float((self.predicted == self.labels).double().mean())


@torch.inference_mode()
def answers(model: nn.Module, corpus: Corpus, title: str = "") -> Answers:
    """Classify every document, in eval mode; the model's mode is put back.

    Args:
        model: a `Classifier`, dense or sparse.
        corpus: the documents.
        title: of the progress shown; none is shown without one.
    """
    was_training = model.training
    model.eval()
    predicted, labels = [], []
    batches = -(-len(corpus) // BATCH)
    with stage(title, batches) if title else quiet() as advance:
        for batch in corpus.by_length(BATCH):
            predicted.append(model(batch.ids, batch.mask).argmax(1))
            labels.append(batch.labels)
            advance("")
    model.train(was_training)
    return Answers(torch.cat(predicted), torch.cat(labels))
