"""Whole k x k slices of a convolution's weight: one output channel's taps of one input channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from secateur.pruning.patterns._base import PATTERNS
from secateur.pruning.patterns._whole import Grid, Whole
from secateur.pruning.shape import Shape


@PATTERNS.register("kernels")
@dataclass(frozen=True)
class Kernels(Whole):
    """The taps of one (output, input) pair live or die as one.

    A linear layer, like a 1 x 1 convolution, has one tap: there a unit is a single weight.
    """

    examples: ClassVar[tuple[str, ...]] = ("kernels",)

    @property
    def name(self) -> str:
        """The pattern as a user types it."""
        return "kernels"

    @classmethod
    def parse(cls, text: str) -> Kernels | None:
        """Return the pattern if `text` is its name."""
        return cls() if text == "kernels" else None

    def grid(self, shape: Shape) -> Grid:
        """Return [out, taps, channels]."""
        return Grid((shape.rows, shape.taps, shape.channels), (1,))
