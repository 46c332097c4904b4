"""Input channels: of a convolution all taps of one channel, of a linear layer a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from secateur.pruning.patterns._base import PATTERNS
from secateur.pruning.patterns._whole import Grid, Whole
from secateur.pruning.shape import Shape


@PATTERNS.register("in_channels")
@dataclass(frozen=True)
class InChannels(Whole):
    """What is read from one channel of x lives or dies as one: of a group, only its rows."""

    examples: ClassVar[tuple[str, ...]] = ("in_channels",)
    within_rows: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The pattern as a user types it."""
        return "in_channels"

    @classmethod
    def parse(cls, text: str) -> InChannels | None:
        """Return the pattern if `text` is its name."""
        return cls() if text == "in_channels" else None

    def grid(self, shape: Shape) -> Grid:
        """Return [groups, rows of a group, taps, channels]."""
        sizes = (shape.groups, shape.rows // shape.groups, shape.taps, shape.channels)
        return Grid(sizes, (1, 2))
