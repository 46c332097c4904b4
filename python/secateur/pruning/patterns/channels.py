"""Output channels: whole rows of [out, in], the filters of a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from secateur.pruning.patterns._base import PATTERNS
from secateur.pruning.patterns._whole import Grid, Whole
from secateur.pruning.shape import Shape

ALIASES = ("channels", "filters", "rows", "out_channels")


@PATTERNS.register("channels (filters, rows)")
@dataclass(frozen=True)
class Channels(Whole):
    """A row of [out, in] lives or dies as one; its bias stays.

    The weight keeps its shape: the channel then gives its bias and nothing else.
    """

    examples: ClassVar[tuple[str, ...]] = ("channels",)
    within_rows: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The pattern as a user types it."""
        return "channels"

    @classmethod
    def parse(cls, text: str) -> Channels | None:
        """Return the pattern if `text` is one of its names."""
        return cls() if text in ALIASES else None

    def grid(self, shape: Shape) -> Grid:
        """Return the matrix: a unit takes in all columns."""
        return Grid((shape.rows, shape.columns), (1,))
