"""The loop that adapting and healing share. It knows nothing of pruning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from secateur.demo.data import Batch, Corpus
from secateur.demo.evaluate import answers
from secateur.demo.model import Classifier
from secateur.demo.progress import stage

BATCH = 16
WARM_UP = 10
LOOK_EVERY = 20


@dataclass(frozen=True)
class Course:
    """How long and how boldly to train.

    Attributes:
        title: of the progress shown.
        steps: training steps, one batch each.
        rate: the highest learning rate.
        decay: share of the steps, at the end, over which the rate falls to zero.
    """

    title: str
    steps: int
    rate: float = 2e-4
    decay: float = 0.5

    def rate_at(self, step: int) -> float:
        """Return the learning rate of `step`, counted from 0."""
        rise = (step + 1) / WARM_UP
        fall = (self.steps - step) / max(1.0, self.steps * self.decay)
        return self.rate * min(1.0, rise, fall)


@dataclass(frozen=True)
class Point:
    """What was seen after one training step.

    Attributes:
        step: counted from 1 within its course.
        loss: of that step's batch.
        sparsity: of the encoder's weights.
        held_out: accuracy on the documents held out of training; None where nobody looked.
    """

    step: int
    loss: float
    sparsity: float
    held_out: float | None


def optimizer_for(model: Classifier, weight_decay: float) -> torch.optim.Optimizer:
    """Return AdamW over what trains; the rate is set by the course.

    Fused, because the plain one took a fifth of a training step's time.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, weight_decay=weight_decay, fused=True)


def train(
    model: Classifier,
    optimizer: torch.optim.Optimizer,
    course: Course,
    batches: Iterator[Batch],
    held_out: Corpus,
    after_step: Callable[[], float],
) -> list[Point]:
    """Train `model` in place and say how it went.

    Args:
        model: what the optimizer holds.
        optimizer: from `optimizer_for`.
        course: how long and how boldly.
        batches: documents, for ever.
        held_out: documents to look at now and then.
        after_step: called after each step; returns the sparsity.
    """
    points = []
    with stage(course.title, course.steps) as advance:
        for step in range(course.steps):
            for group in optimizer.param_groups:
                group["lr"] = course.rate_at(step)
            batch = next(batches)
            loss = F.cross_entropy(model(batch.ids, batch.mask), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sparsity = after_step()
            looks = (step + 1) % LOOK_EVERY == 0 or step + 1 == course.steps
            seen = answers(model, held_out).accuracy if looks else None
            points.append(Point(step + 1, loss.item(), sparsity, seen))
            advance(f"loss {loss.item():.3f}, sparsity {sparsity:.2f}")
    return points
