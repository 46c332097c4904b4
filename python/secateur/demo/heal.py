"""The sparse model: pruned along a cubic schedule while it trains, then trained a little more.

The schedule is that of Zhu and Gupta, "To prune, or not to prune" (2017), equation 1. Distilling
from the dense model was tried and left out: its forward pass costs a quarter of the steps that
fit in the same time, and those steps were worth more.
"""

from __future__ import annotations

import copy

import torch

import secateur as sc
from secateur.demo.data import Corpus
from secateur.demo.model import Classifier
from secateur.demo.settings import Settings
from secateur.demo.train import BATCH, Course, Point, optimizer_for, train

TARGETS = "layers.*"
PRUNE_EVERY = 5
# The rest of the steps train with the final masks.
PRUNE_UNTIL = 0.7
# Another order of documents than the dense model saw.
SEED_OFFSET = 100


def heal(
    dense: Classifier, corpus: Corpus, held_out: Corpus, settings: Settings
) -> tuple[Classifier, list[Point]]:
    """Return a pruned copy of `dense`, every encoder linear at the wanted sparsity."""
    model = copy.deepcopy(dense).train()
    optimizer = optimizer_for(model, weight_decay=0.0)
    last = max(1, round(settings.heal_steps * PRUNE_UNTIL))
    batches = corpus.shuffled(BATCH, torch.Generator().manual_seed(settings.seed + SEED_OFFSET))
    course = Course("pruning while training", settings.heal_steps, rate=3e-4, decay=0.3)
    pruner = sc.GradualPruner(
        model,
        optimizer,
        sc.schedules.cubic(0.0, settings.sparsity, steps=range(0, last, PRUNE_EVERY)),
        pattern=settings.pattern,
        targets=TARGETS,
    )

    def prune() -> float:
        pruner.step()
        return pruner.sparsity

    with pruner:
        points = train(model, optimizer, course, batches, held_out, prune)
    return model.eval(), points
