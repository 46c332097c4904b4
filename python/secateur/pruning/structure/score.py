"""How much a channel matters: the criterion's scores of all the weights that go with it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.pruning.recipe import Recipe
from secateur.pruning.structure.groups import Group
from secateur.pruning.structure.trace import Trace
from secateur.pruning.targets import Target, select

Vector = NDArray[np.float64]


class Scorer:
    """Scores of channels: the mean of the criterion's scores over every weight of every member.

    A mean, so that groups of many weights and of few may compete. A criterion with a `pool` of its
    own is pooled by that: the exponent of a power mean, "net" (absolute value of the mean), or
    "first" (of the first member alone). Vectors (biases, norms) have no score.
    """

    def __init__(
        self, model: nn.Module, trace: Trace, recipe: Recipe, generator: torch.Generator | None
    ) -> None:
        self._trace = trace
        self._recipe = recipe
        self._generator = generator
        self._pool: float | str = getattr(recipe.criterion, "pool", 1)
        self._targets = _targets(model, trace, recipe)
        self._sums: dict[str, list[Vector]] = {}

    def scores(self, group: Group) -> Tensor:
        """Return float64 [1, channels]."""
        power = self._pool if not isinstance(self._pool, str) else 1
        total, count = np.zeros(len(group)), 0
        for member in group.members:
            axis = member.axis
            if axis.name not in self._targets:
                continue
            if self._pool == "first" and count:
                break
            sums = self._along(axis.name)[axis.dim]
            taken = sums[member.positions]
            if math.isinf(power):
                total = np.maximum(total, taken.max(1))
            else:
                total += taken.sum(1)
            count += member.positions.shape[1] * (self._numel(axis.name) // len(axis.labels))
        if not count:
            raise ValueError(
                f"criterion {self._recipe.criterion.name!r} has no score for any weight that goes "
                f"with the channels of {group.name!r}; leave them out with ignore=[...]"
            )
        if math.isinf(power):
            return torch.from_numpy(total)[None]
        mean = np.abs(total / count) if self._pool == "net" else total / count
        return torch.from_numpy(mean ** (1 / power))[None]

    def _numel(self, name: str) -> int:
        return self._targets[name].weight.numel()

    def _along(self, name: str) -> list[Vector]:
        """Return, for each dimension of a parameter, sums (or maxima) over all the others."""
        if name not in self._sums:
            target = self._targets[name]
            evidence = self._recipe._evidence(self._generator)
            score = target.from_matrix(self._recipe._score(target, evidence, None)).double()
            power = self._pool if not isinstance(self._pool, str) else 1
            if not math.isinf(power) and power != 1:
                score = score**power
            dims = range(score.ndim)
            self._sums[name] = [
                _reduced(score, [d for d in dims if d != dim], math.isinf(power)) for dim in dims
            ]
        return self._sums[name]


def _reduced(score: Tensor, dims: list[int], largest: bool) -> Vector:
    if not dims:
        return np.asarray(score.cpu().numpy(), np.float64)
    reduced = score.amax(dims) if largest else score.sum(dims)
    return np.asarray(reduced.cpu().numpy(), np.float64)


def _targets(model: nn.Module, trace: Trace, recipe: Recipe) -> Mapping[str, Target]:
    """Return the weights to score, by parameter name, each in the layout criteria expect.

    Weights of other modules (embeddings, transposed convolutions) are scored by criteria that look
    at nothing but the weight.
    """
    try:
        found = dict(select(model, [nn.Module]))
    except ValueError:
        found = {}
    if recipe.criterion.needs <= {"seed"}:
        modules = dict(model.named_modules())
        for name, parameter in model.named_parameters():
            if trace.matrices.get(name) and name not in found and parameter.is_floating_point():
                owner, _, word = name.rpartition(".")
                layout = "conv" if parameter.ndim > 2 else "out_in"
                found[name] = Target(owner, modules[owner], word, layout)  # type: ignore[arg-type]
    return found
