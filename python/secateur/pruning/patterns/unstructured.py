"""Every weight lives or dies alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from secateur.pruning.patterns._base import PATTERNS
from secateur.pruning.patterns._pool import Pooling
from secateur.pruning.patterns._whole import Grid, Whole
from secateur.pruning.shape import Shape


@PATTERNS.register("unstructured")
@dataclass(frozen=True)
class Unstructured(Whole):
    """No constraint on where the zeros are: units are the weights themselves."""

    examples: ClassVar[tuple[str, ...]] = ("unstructured",)

    @property
    def name(self) -> str:
        """The pattern as a user types it."""
        return "unstructured"

    @classmethod
    def parse(cls, text: str) -> Unstructured | None:
        """Return the pattern if `text` is its name."""
        return cls() if text == "unstructured" else None

    def grid(self, shape: Shape) -> Grid:
        """Return the matrix: nothing is inside a weight."""
        return Grid((shape.rows, shape.columns), ())

    def to_units(self, scores: Tensor, shape: Shape, how: Pooling = "mean") -> Tensor:
        """Return `scores` as they are, [out, in]."""
        return scores

    def to_mask(self, keep: Tensor, shape: Shape) -> Tensor:
        """Return `keep` as it is, bool [out, in]."""
        return keep

    def broken_by(self, mask: Tensor, shape: Shape) -> str | None:
        """Return None: every mask will do."""
        return None
