"""The whole way in order: adapt, prune, convert, save, measure. Each step is its own file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import torch

import secateur as sc
from secateur.demo import figures as fig
from secateur.demo import packages, rivals, sizes
from secateur.demo.adapt import adapt
from secateur.demo.data import Batch, Corpus, read_corpus
from secateur.demo.evaluate import answers
from secateur.demo.heal import heal
from secateur.demo.model import Classifier
from secateur.demo.progress import stage
from secateur.demo.settings import Settings
from secateur.demo.timing import take_turns
from secateur.demo.waterfall import waterfall

HELD_OUT = 160
BATCHES = (1, 16)
WATERFALL_ROUNDS = 11


@dataclass(frozen=True)
class Documents:
    """The three sets of documents; `held_out` is of the train split, `test` is not."""

    train: Corpus
    held_out: Corpus
    test: Corpus

    def timed(self) -> list[Batch]:
        """Return the batches that are timed, without padding."""
        return [self.test.full(size) for size in BATCHES]


def run(settings: Settings) -> fig.Figures:
    """Do everything, leave both models in `settings.out`, and return the figures."""
    started = time.perf_counter()
    packages.require_libraries()
    sources = packages.find()
    torch.set_num_threads(settings.threads)
    settings.out.mkdir(parents=True, exist_ok=True)
    documents = _documents(sources, settings)
    dense, adapting = adapt(sources, documents.train, documents.held_out, settings)
    before = answers(dense, documents.test, "classifying with the dense model")
    pruned, healing = heal(dense, documents.train, documents.held_out, settings)
    sparse = _convert(pruned, documents)
    after = answers(sparse, documents.test, "classifying with the sparse model")
    dense_size, sparse_size, reload = _save(dense, sparse, documents, settings)
    speeds, difference = _race(dense, sparse, documents, settings)
    largest = documents.timed()[-1]
    parts = {
        name: waterfall(model, largest, WATERFALL_ROUNDS)
        for name, model in (("dense", dense), ("sparse", sparse))
    }
    return fig.Figures(
        settings=settings,
        machine=fig.describe_machine(),
        versions=fig.versions(),
        quality=fig.Quality.of(before, after),
        speeds=speeds,
        dense_size=dense_size,
        sparse_size=sparse_size,
        layers=_layers(sparse),
        waterfalls=parts,
        adapting=adapting,
        healing=healing,
        reload=reload,
        onnxruntime_difference=difference,
        seconds=time.perf_counter() - started,
    )


def _documents(sources: packages.Sources, settings: Settings) -> Documents:
    with stage("reading Reuters R8", 2) as advance:
        train = read_corpus(sources.train, sources.tokenizer)
        advance("")
        test = read_corpus(sources.test, sources.tokenizer)
        advance("")
    generator = torch.Generator().manual_seed(settings.seed)
    order = torch.randperm(len(train), generator=generator).tolist()
    wanted = len(test) if settings.documents is None else settings.documents
    return Documents(
        train.take(order[HELD_OUT:]), train.take(order[:HELD_OUT]), test.take(range(wanted))
    )


def _convert(pruned: Classifier, documents: Documents) -> torch.nn.Module:
    examples = [(batch.ids, batch.mask) for batch in documents.timed()]
    layers = sum(isinstance(module, torch.nn.Linear) for module in pruned.modules())
    with stage("measuring each layer", layers) as advance:
        return sc.convert(pruned, examples, progress=lambda done, total, name: advance(name))


def _save(
    dense: Classifier, sparse: torch.nn.Module, documents: Documents, settings: Settings
) -> tuple[sizes.Sizes, sizes.Sizes, fig.Reload]:
    dense_path, sparse_path = (settings.out / f"{n}.safetensors" for n in ("dense", "sparse"))
    sizes.save_dense(dense, dense_path)
    sc.save(sparse, sparse_path)
    loaded = sc.load(Classifier(len(documents.train.classes)), sparse_path).eval()
    same, largest = True, 0.0
    with torch.inference_mode():
        for batch in documents.timed():
            one, other = (model(batch.ids, batch.mask) for model in (sparse, loaded))
            same = same and torch.equal(one.argmax(1), other.argmax(1))
            largest = max(largest, float((one - other).abs().max()))
    measured = (sizes.sizes(dense, dense_path), sizes.sizes(sparse, sparse_path))
    return (*measured, fig.Reload(same, largest))


@torch.inference_mode()
def _race(
    dense: Classifier, sparse: torch.nn.Module, documents: Documents, settings: Settings
) -> tuple[list[fig.Speed], float]:
    """Return the times of each batch, and how far ONNX Runtime's logits are from torch's."""
    speeds, difference = [], 0.0
    for batch in documents.timed():
        rival = rivals.onnx_runtime(dense, batch, settings.threads)
        reference = dense(batch.ids, batch.mask)
        difference = max(difference, float((torch.from_numpy(rival()) - reference).abs().max()))
        times = take_turns(
            {
                "torch": partial(dense, batch.ids, batch.mask),
                "onnxruntime": rival,
                "sparse": partial(sparse, batch.ids, batch.mask),
            },
            settings.rounds,
            f"timing {len(batch.ids)}x{batch.ids.shape[1]} tokens",
        )
        speeds.append(fig.Speed(len(batch.ids), batch.ids.numel(), **times))
    return speeds, difference


def _layers(sparse: torch.nn.Module) -> list[fig.LayerSpeed]:
    explained = sc.explain(sparse)
    notes = {note.name: note for note in explained.layers}
    return [
        fig.LayerSpeed(
            layer=row.layer,
            shape=notes[row.layer].shape,
            sparsity=notes[row.layer].sparsity,
            rows=row.rows,
            kernel=row.kernel,
            dense_ms=row.dense_ms,
            sparse_ms=row.sparse_ms,
            reason=row.reason,
        )
        for row in explained.rows
        if row.rows is not None and row.dense_ms is not None and row.sparse_ms is not None
    ]
