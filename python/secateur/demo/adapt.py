"""The dense model: the published embedding taught to tell the eight classes apart."""

from __future__ import annotations

import torch

from secateur.demo.data import Corpus
from secateur.demo.model import Classifier, load_published
from secateur.demo.packages import Sources
from secateur.demo.settings import Settings
from secateur.demo.train import BATCH, Course, Point, optimizer_for, train

WEIGHT_DECAY = 0.01


def adapt(
    sources: Sources, corpus: Corpus, held_out: Corpus, settings: Settings
) -> tuple[Classifier, list[Point]]:
    """Return the adapted dense model and how its training went.

    The word embedding is not trained: 100 steps see few of its 30,522 rows.
    """
    torch.manual_seed(settings.seed)
    model = Classifier(len(corpus.classes))
    load_published(model, sources.weights)
    model.embedding.requires_grad_(False)
    batches = corpus.shuffled(BATCH, torch.Generator().manual_seed(settings.seed))
    course = Course("adapting the dense model", settings.adapt_steps)
    optimizer = optimizer_for(model, WEIGHT_DECAY)
    points = train(model, optimizer, course, batches, held_out, lambda: 0.0)
    return model.eval(), points
