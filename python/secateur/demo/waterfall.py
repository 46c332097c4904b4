"""Where the milliseconds of one forward pass go, class of work by class of work."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from secateur.demo.data import Batch

# The last part of a module's name -> its class of work.
KINDS = {
    "embedding": "embedding",
    "q": "q, k, v",
    "k": "q, k, v",
    "v": "q, k, v",
    "attention": "attention",
    "o": "o",
    "norm1": "layer norm",
    "norm2": "layer norm",
    "fc1": "fc1",
    "gelu": "gelu",
    "fc2": "fc2",
    "pooling": "pooling, head",
    "head": "pooling, head",
}
REST = "residuals, rest"
ORDER = (*dict.fromkeys(KINDS.values()), REST)


@dataclass(frozen=True)
class Waterfall:
    """Milliseconds of each class of work; they add up to the whole.

    Attributes:
        parts: class of work -> median milliseconds, in the order of `ORDER`; what no class
            claims is in the last one.
    """

    parts: dict[str, float]

    @property
    def total(self) -> float:
        """Milliseconds of a forward pass, the clock's own cost included."""
        return sum(self.parts.values())


@torch.inference_mode()
def waterfall(model: nn.Module, batch: Batch, rounds: int) -> Waterfall:
    """Time the parts of `model`'s forward pass by hooks.

    The round whose whole is the median is reported, so that its parts add up.
    """
    passes: list[dict[str, float]] = []
    with _clocked(model) as spent:
        for number in range(rounds + 1):
            spent.clear()
            started = time.perf_counter()
            model(batch.ids, batch.mask)
            whole = time.perf_counter() - started
            # The first pass warms the caches.
            if number:
                passes.append({**spent, REST: whole - sum(spent.values())})
    middle = statistics.median_low(sum(parts.values()) for parts in passes)
    chosen = next(parts for parts in passes if sum(parts.values()) == middle)
    return Waterfall({kind: 1e3 * chosen.get(kind, 0.0) for kind in ORDER})


@contextmanager
def _clocked(model: nn.Module) -> Iterator[dict[str, float]]:
    """Add up seconds by class of work while the model runs within."""
    spent: dict[str, float] = defaultdict(float)
    handles = []
    for name, module in model.named_modules():
        kind = KINDS.get(name.rpartition(".")[2])
        if kind is not None:
            handles += _clock(module, kind, spent)
    try:
        yield spent
    finally:
        for handle in handles:
            handle.remove()


def _clock(
    module: nn.Module, kind: str, spent: dict[str, float]
) -> list[torch.utils.hooks.RemovableHandle]:
    started = 0.0

    def before(*_: object) -> None:
        nonlocal started
        started = time.perf_counter()

    def after(*_: object) -> None:
        spent[kind] += time.perf_counter() - started

    return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
