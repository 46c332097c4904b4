"""Columns of [out, in]: of a convolution one tap of one input channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from secateur.pruning.patterns._base import PATTERNS
from secateur.pruning.patterns._whole import Grid, Whole
from secateur.pruning.shape import Shape


@PATTERNS.register("columns")
@dataclass(frozen=True)
class Columns(Whole):
    """A column lives or dies as one. The groups of a convolution read different channels, so each
    has columns of its own.
    """  # noqa: D205  (two sentences that need each other)

    examples: ClassVar[tuple[str, ...]] = ("columns",)
    within_rows: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The pattern as a user types it."""
        return "columns"

    @classmethod
    def parse(cls, text: str) -> Columns | None:
        """Return the pattern if `text` is its name."""
        return cls() if text == "columns" else None

    def grid(self, shape: Shape) -> Grid:
        """Return [groups, rows of a group, columns]."""
        return Grid((shape.groups, shape.rows // shape.groups, shape.columns), (1,))
