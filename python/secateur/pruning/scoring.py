"""The scores of one weight's units, computed anew whenever they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from secateur.pruning.criteria import Criterion, Evidence
from secateur.pruning.patterns import Pattern
from secateur.pruning.pooling import How, pooled
from secateur.pruning.select import piece_size
from secateur.pruning.targets import Target


@dataclass
class UnitScores:
    """Calling it returns the scores of the units, [rows, units per row]; -inf where removed.

    Attributes:
        target: the weight.
        criterion: how much each weight matters.
        pattern: which weights live or die together.
        evidence: what the criterion needs.
        dtype: what scores are compared in, float32 or float64.
        removed: bool [out, in], weights that are gone already; None if none are.
    """

    target: Target
    criterion: Criterion
    pattern: Pattern
    evidence: Evidence
    dtype: torch.dtype
    removed: Tensor | None = None
    _checked: bool = field(default=False, repr=False)

    def __call__(self) -> Tensor:
        """Return the scores of the units.

        Raises:
            ValueError: if a score is NaN or -inf, or the criterion returns another shape.
        """
        scores = self._score(self.target.matrix).to(self.dtype)
        self._checked = True
        how: How = getattr(self.criterion, "pooling", "mean")
        units = pooled(self.pattern, scores, self.target.shape, how)
        return units if self.removed is None else units.masked_fill(self._gone(scores), -math.inf)

    @property
    def shape(self) -> tuple[int, int] | None:
        """The shape of the units, where it is known beforehand."""
        shape = self.target.shape
        return (shape.rows, shape.columns) if self._in_pieces() else None

    def pieces(self) -> Iterator[Tensor]:
        """Yield the same scores a few rows at a time, where they follow from each weight alone.

        Raises:
            ValueError: as a call.
        """
        if not self._in_pieces():
            yield self()
            return
        size = piece_size(self.target.weight.device)
        rows = max(1, size // max(1, self.target.shape.columns))
        removed = None if self.removed is None else self.removed.split(rows)
        for at, part in enumerate(self.target.matrix.split(rows)):
            scores = self._score(part).to(self.dtype)
            if removed is not None:
                scores.masked_fill_(removed[at].to(scores.device), -math.inf)
            yield scores
        self._checked = True

    def counts(self) -> tuple[int, int]:
        """Return how many units there are, and how many of them nothing has removed."""
        shape = self.target.shape
        removed = self.removed
        if removed is None:
            removed = torch.zeros(shape.rows, shape.columns, dtype=torch.bool)
        gone = self._gone(removed.to(self.dtype), removed)
        return gone.numel(), gone.numel() - int(gone.count_nonzero())

    def _in_pieces(self) -> bool:
        return self.pattern.name == "unstructured" and getattr(self.criterion, "by_weight", False)

    def _gone(self, like: Tensor, removed: Tensor | None = None) -> Tensor:
        removed = self.removed if removed is None else removed
        assert removed is not None
        # A unit is gone with its last weight.
        return self.pattern.to_units((~removed).to(like), self.target.shape, "max") == 0

    def _score(self, weight: Tensor) -> Tensor:
        """Return the criterion's scores of `weight`, [out, in] or some of its rows."""
        score = self.criterion.score(weight, self.evidence)
        name, key = self.criterion.name, self.target.key
        if score.shape != weight.shape:
            raise ValueError(
                f"criterion {name!r} returned {list(score.shape)} for {key!r}, which is "
                f"{list(weight.shape)}"
            )
        # The least is NaN if any is; and once is enough, for scores are the same at every call.
        if not self._checked and score.numel() and not bool(score.amin() > -math.inf):
            raise ValueError(
                f"criterion {name!r} gives NaN or -inf for {key!r}; is there a NaN among its "
                "weights?"
            )
        return score
