"""N:M both ways: a weight and its transpose are N:M, so that forward and backward can be sparse.

Hubara et al. 2021, arXiv:2102.08124, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from secateur.pruning.patterns._base import PATTERNS
from secateur.pruning.patterns._pool import Pooling
from secateur.pruning.patterns._tiles import best_tiles
from secateur.pruning.patterns.nm import kept_of
from secateur.pruning.shape import Shape


@PATTERNS.register("N:MT")
@dataclass(frozen=True)
class Transposable:
    """Of every aligned M x M tile each row and each column keeps N.

    Units are weights. The choice has the largest sum of scores that there is; ties are broken in
    a fixed way, which for M <= 4 prefers low indices.

    Attributes:
        n: weights kept in each row and each column of a tile, 1 to m.
        m: rows, and columns, of a tile.
    """

    n: int
    m: int
    examples: ClassVar[tuple[str, ...]] = ("2:4T", "1:4T", "4:8T", "2:5T")
    within_rows: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The pattern as a user types it."""
        return f"{self.n}:{self.m}T"

    @property
    def sparsity(self) -> float | None:
        """1 - N / M."""
        return (self.m - self.n) / self.m

    @property
    def kept_per_row(self) -> int | None:
        """N: a row of a tile is a row of units."""
        return self.n

    @classmethod
    def parse(cls, text: str) -> Transposable | None:
        """Return the pattern that `text`, such as "2:4T", names.

        Raises:
            ValueError: if N is not between 1 and M.
        """
        found = kept_of(text, "T")
        return None if found is None else cls(*found)

    def misfit(self, shape: Shape) -> str | None:
        """Return why not, if the matrix does not divide into tiles."""
        if shape.rows % self.m == 0 and shape.columns % self.m == 0:
            return None
        return (
            f"pattern {self.name} needs out_features and in_features divisible by {self.m}, not "
            f"{shape.rows} and {shape.inputs}"
        )

    def to_units(self, scores: Tensor, shape: Shape, how: Pooling = "mean") -> Tensor:
        """Return the rows of the tiles, tile after tile, [out * in / M, M]."""
        return self._swapped(scores, shape.rows, shape.columns).reshape(-1, self.m)

    def choose(self, units: Tensor) -> Tensor:
        """Return the best N in each row and each column of a tile."""
        return best_tiles(units.reshape(-1, self.m, self.m), self.n).view(units.shape)

    def to_mask(self, keep: Tensor, shape: Shape) -> Tensor:
        """Return the tiles put back in their places, bool [out, in]."""
        tiles = keep.reshape(-1, shape.columns // self.m, self.m, self.m)
        return tiles.transpose(1, 2).reshape(shape.rows, shape.columns)

    def broken_by(self, mask: Tensor, shape: Shape) -> str | None:
        """Return the first tile in which a row or a column keeps more than N, if there is one."""
        reason = self.misfit(shape)
        if reason:
            return reason
        tiles = self._swapped(mask, shape.rows, shape.columns)
        kept = {"row": tiles.sum(3).amax(2), "column": tiles.sum(2).amax(2)}
        for what, most in kept.items():
            bad = (most > self.n).nonzero()
            if len(bad):
                row, column = (bad[0] * self.m).tolist()
                return (
                    f"in the {self.m} x {self.m} tile at row {row}, column {column} a {what} keeps "
                    f"{int(most[tuple(bad[0])])}, where {self.name} allows {self.n} of {self.m} "
                    f"({len(bad)} of {most.numel()} tiles are like that)"
                )
        return None

    def towards(self, sparsity: float) -> Transposable:
        """Return n:MT, n >= N, whose sparsity is the nearest to `sparsity`; halves go to even."""
        removed = min(round(sparsity * self.m), self.m - self.n)
        return Transposable(self.m - removed, self.m)

    def _swapped(self, matrix: Tensor, rows: int, columns: int) -> Tensor:
        """Return the tiles, [rows / M, columns / M, M, M]."""
        tiles = matrix.reshape(rows // self.m, self.m, columns // self.m, self.m)
        return tiles.transpose(1, 2)
