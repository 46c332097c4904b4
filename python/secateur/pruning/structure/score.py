"""How much a channel matters: the criterion's scores of all the weights that go with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.pruning.criteria import Criterion, Evidence
from secateur.pruning.structure.groups import Group, Member
from secateur.pruning.structure.trace import Trace
from secateur.pruning.targets import Layout, Target, select

Vector = NDArray[np.float64]
Pooling = float | Literal["mean", "sum", "net", "max", "first"]


class Scorer:
    """Scores of channels, from those of every weight of every member.

    They are pooled as the criterion's `pooling` says: "mean", the default, so that groups of many
    weights and of few may compete | "sum" | "net", the absolute value of the sum | "max" | a number
    p, the power mean | "first", of one weight. Vectors (biases, norms) have no score.

    Args:
        trace: of the model.
        criterion: how much each weight matters.
        evidence: what it needs beside seeds, by parameter name; weights without have no score.
        generator: where seeds come from; None means torch's default one.
    """

    def __init__(
        self,
        trace: Trace,
        criterion: Criterion,
        evidence: Mapping[str, Evidence] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self._criterion = criterion
        self._evidence = evidence or {}
        self._generator = generator
        self._pooling: Pooling = getattr(criterion, "pooling", "mean")
        self._targets = targets_of(trace.model, trace)
        self._sums: dict[str, list[Vector]] = {}

    def scores(self, group: Group) -> Tensor:
        """Return float64 [1, channels].

        Raises:
            ValueError: if no weight of the group has a score, or one is NaN or -inf.
        """
        members = [m for m in group.members if self._has_score(m)]
        if not members:
            needs = ", ".join(sorted(self._criterion.needs - {"seed"})) or "rows of weights"
            raise ValueError(
                f"criterion {self._criterion.name!r} looks at {needs}, and has none for any weight "
                f"that goes with the channels of {group.name!r}; leave them out with ignore=[...], "
                'or use criterion="magnitude"'
            )
        if self._pooling == "first":
            members = members[:1]
        each = [self._along(m.axis.name)[m.axis.dim][m.positions] for m in members]
        if self._largest:
            pooled = np.stack([values.max(1) for values in each]).max(0)
        else:
            pooled = np.stack([values.sum(1) for values in each]).sum(0)
            count = sum(m.positions.shape[1] * self._slice(m) for m in members)
            pooled = self._after(pooled, count)
        return torch.from_numpy(pooled)[None]

    @property
    def _largest(self) -> bool:
        return self._pooling == "max" or self._pooling == math.inf

    def _after(self, total: Vector, count: int) -> Vector:
        if self._pooling == "sum":
            return total
        if self._pooling == "net":
            return np.abs(total)
        mean = total / count
        return mean if isinstance(self._pooling, str) else mean ** (1 / self._pooling)

    def _has_score(self, member: Member) -> bool:
        name = member.axis.name
        if name not in self._targets:
            return False
        if getattr(self._criterion, "whole_rows", False) and member.axis.side != "out":
            return False
        return self._criterion.needs <= {"seed"} or name in self._evidence

    def _slice(self, member: Member) -> int:
        """Return how many weights one position of a member has."""
        return self._targets[member.axis.name].weight.numel() // len(member.axis.labels)

    def _along(self, name: str) -> list[Vector]:
        """Return, for each dimension of a parameter, sums (or maxima) over all the others."""
        if name not in self._sums:
            target = self._targets[name]
            matrix = target.matrix
            score = self._criterion.score(matrix, self._known(name))
            if score.shape != matrix.shape or not bool((score > -math.inf).all()):
                raise ValueError(
                    f"criterion {self._criterion.name!r}: wanted scores {list(matrix.shape)} for "
                    f"{name!r}, without NaN and -inf, got {list(score.shape)} with "
                    f"{int((~(score > -math.inf)).sum())} of those"
                )
            whole = target.from_matrix(score.double())
            if not isinstance(self._pooling, str) and not self._largest:
                whole = whole**self._pooling
            self._sums[name] = [self._reduced(whole, dim) for dim in range(whole.ndim)]
        return self._sums[name]

    def _reduced(self, score: Tensor, dim: int) -> Vector:
        rows = score.movedim(dim, 0).flatten(1)
        reduced = rows.amax(1) if self._largest else rows.sum(1)
        return np.asarray(reduced.cpu().numpy(), np.float64)

    def _known(self, name: str) -> Evidence:
        evidence = self._evidence.get(name, Evidence())
        if "seed" not in self._criterion.needs:
            return evidence
        generator = self._generator or torch.default_generator
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        return replace(evidence, seed=seed)


def targets_of(model: nn.Module, trace: Trace) -> dict[str, Target]:
    """Return the weights that can be scored, by parameter name.

    Those of modules that `select` does not know (embeddings, transposed convolutions) too, as
    matrices of their first dimension.
    """
    try:
        found = dict(select(model, [nn.Module]))
    except ValueError:
        found = {}
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        if trace.matrices.get(name) and name not in found and parameter.is_floating_point():
            owner, _, word = name.rpartition(".")
            layout: Layout = "conv" if parameter.ndim > 2 else "out_in"
            found[name] = Target(owner, modules[owner], word, layout)
    return found
