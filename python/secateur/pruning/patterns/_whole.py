"""What patterns share whose sparsity is free, and whose units live or die as a whole."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from typing_extensions import Self

from secateur.pruning.patterns._pool import Pooling, pool
from secateur.pruning.shape import Shape


class Grid(NamedTuple):
    """A matrix seen in more dimensions: positions along `inside` belong to one unit.

    Attributes:
        sizes: of the dimensions; their product is rows * columns.
        inside: the dimensions that a unit takes in.
    """

    sizes: tuple[int, ...]
    inside: tuple[int, ...]


class Whole:
    """A scope chooses among the units, and sparsity is counted in units."""

    sparsity: ClassVar[float | None] = None
    kept_per_row: ClassVar[int | None] = None
    within_rows: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The pattern as a user types it."""
        raise NotImplementedError

    def grid(self, shape: Shape) -> Grid:
        """Return where the units are; `misfit(shape)` is None."""
        raise NotImplementedError

    def misfit(self, shape: Shape) -> str | None:
        """Return None: every shape will do."""
        return None

    def to_units(self, scores: Tensor, shape: Shape, how: Pooling = "mean") -> Tensor:
        """Return the pooled scores, [rows of units, units]; [1, units] if not `within_rows`."""
        sizes, inside = self.grid(shape)
        units = pool(scores.reshape(sizes), inside, how)
        rows = units.shape[0] if self.within_rows else 1
        return units.reshape(rows, units.numel() // rows if rows else 0)

    def to_mask(self, keep: Tensor, shape: Shape) -> Tensor:
        """Return `keep` spread over the weights of its units, bool [out, in]."""
        sizes, inside = self.grid(shape)
        units = keep.reshape([1 if at in inside else n for at, n in enumerate(sizes)])
        return units.expand(sizes).reshape(shape.rows, shape.columns)

    def choose(self, units: Tensor) -> Tensor:
        """Raise TypeError: it is a scope that chooses."""
        raise TypeError(f"pattern {self.name!r} fixes no number of units; a scope chooses them")

    def broken_by(self, mask: Tensor, shape: Shape) -> str | None:
        """Return the first weight that is removed though others of its unit are kept."""
        reason = self.misfit(shape)
        if reason:
            return reason
        alive = self.to_units(mask.to(torch.float32), shape, "max") > 0
        missing = (self.to_mask(alive, shape) & ~mask).nonzero()
        if not len(missing):
            return None
        row, column = missing[0].tolist()
        return (
            f"row {row}, column {column} is removed, but its unit of pattern {self.name} is not "
            f"({len(missing)} weights are like that)"
        )

    def towards(self, sparsity: float) -> Self:
        """Return this pattern: it takes any sparsity."""
        return self
