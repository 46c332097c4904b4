"""N:M, N KEPT of every M weights that follow each other along the input axis.

Peers disagree about N (kept here and in NVIDIA's papers; removed in Wanda and SparseGPT), so
every message says "kept".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from secateur.pruning.groups import keep_in_groups
from secateur.pruning.patterns._base import PATTERNS
from secateur.pruning.patterns._pool import Pooling
from secateur.pruning.shape import Shape


@PATTERNS.register("N:M")
@dataclass(frozen=True)
class NM:
    """Units are weights; each aligned group of M in a row of [out, in] is its own competition.

    A mask of W says nothing about W transposed: its columns are not N:M; "N:MT" is for that.
    The columns of a convolution are taps of channels, the channel fastest: where M divides the
    channels, a group is M channels of one tap.

    Attributes:
        n: weights kept in each group, 1 to m.
        m: weights in a group.
    """

    n: int
    m: int
    examples: ClassVar[tuple[str, ...]] = ("2:4", "1:4", "4:8", "3:5")
    within_rows: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The pattern as a user types it."""
        return f"{self.n}:{self.m}"

    @property
    def sparsity(self) -> float | None:
        """1 - N / M."""
        return (self.m - self.n) / self.m

    @property
    def kept_per_row(self) -> int | None:
        """N: the units of one group stand in one row."""
        return self.n

    @classmethod
    def parse(cls, text: str) -> NM | None:
        """Return the pattern that `text`, such as "2:4", names.

        Raises:
            ValueError: if N is not between 1 and M.
        """
        found = kept_of(text)
        return None if found is None else cls(*found)

    def misfit(self, shape: Shape) -> str | None:
        """Return why not, if the rows do not divide into groups of M."""
        if shape.columns % self.m == 0:
            return None
        return f"pattern {self.name} needs in_features divisible by {self.m}, not {shape.inputs}"

    def to_units(self, scores: Tensor, shape: Shape, how: Pooling = "mean") -> Tensor:
        """Return the groups, [out * in / M, M], from `scores` [out, in]."""
        return scores.reshape(-1, self.m)

    def choose(self, units: Tensor) -> Tensor:
        """Return the N highest of each group; among equals the lowest index."""
        return keep_in_groups(units, self.n)

    def to_mask(self, keep: Tensor, shape: Shape) -> Tensor:
        """Return the groups put back in their rows, bool [out, in]."""
        return keep.reshape(shape.rows, shape.columns)

    def broken_by(self, mask: Tensor, shape: Shape) -> str | None:
        """Return the first group that keeps more than N, if there is one."""
        reason = self.misfit(shape)
        if reason:
            return reason
        kept = mask.reshape(-1, self.m).sum(1)
        bad = (kept > self.n).nonzero().flatten()
        if not len(bad):
            return None
        row, column = divmod(int(bad[0]) * self.m, mask.shape[1])
        return (
            f"row {row}, columns {column} to {column + self.m - 1} keep {int(kept[bad[0]])}, "
            f"where {self.name} allows {self.n} kept of {self.m} "
            f"({len(bad)} of {len(kept)} groups are like that)"
        )

    def towards(self, sparsity: float) -> NM:
        """Return n:M, n >= N, whose sparsity is the nearest to `sparsity`; halves go to even.

        On the way to 2:4 that is 4:4 up to 12.5 %, then 3:4, and 2:4 from 37.5 %.
        """
        removed = min(round(sparsity * self.m), self.m - self.n)
        return NM(self.m - removed, self.m)


def kept_of(text: str, end: str = "") -> tuple[int, int] | None:
    """Return the N and M of "N:M" and then `end`; None if `text` is something else.

    Raises:
        ValueError: if N is not between 1 and M.
    """
    numbers = re.fullmatch(rf"(\d+):(\d+){end}", text)
    if numbers is None:
        return None
    n, m = map(int, numbers.groups())
    if not 1 <= n <= m:
        hint = f'; did you mean "{m}:{n}{end}"?' if 1 <= m < n else ""
        raise ValueError(f'pattern "N:M{end}" is N kept of M, 1 <= N <= M, not {text!r}{hint}')
    return n, m
