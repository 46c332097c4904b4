"""Blocks of R x C weights: what block-sparse kernels (BSR) read, and 4x1 on many CPUs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from secateur.pruning.patterns._base import PATTERNS
from secateur.pruning.patterns._whole import Grid, Whole
from secateur.pruning.shape import Shape


@PATTERNS.register("block:RxC")
@dataclass(frozen=True)
class Block(Whole):
    """Aligned blocks of the matrix [out, in] live or die as one.

    A matrix that does not divide into blocks is refused, with the largest block that fits: a
    smaller block at the edge would count as much as a whole one.

    Attributes:
        r: rows of a block.
        c: columns of a block.
    """

    r: int
    c: int
    examples: ClassVar[tuple[str, ...]] = ("block:4x1", "block:2x5", "block:8x4")

    @property
    def name(self) -> str:
        """The pattern as a user types it."""
        return f"block:{self.r}x{self.c}"

    @classmethod
    def parse(cls, text: str) -> Block | None:
        """Return the pattern that `text`, such as "block:4x1", names.

        Raises:
            ValueError: if it begins like one and is none.
        """
        if not text.startswith("block"):
            return None
        numbers = re.fullmatch(r"block:([1-9]\d*)x([1-9]\d*)", text)
        if numbers is None:
            raise ValueError(
                f'pattern "block:RxC" is R rows by C columns, as in "block:4x1", not {text!r}'
            )
        return cls(*map(int, numbers.groups()))

    def misfit(self, shape: Shape) -> str | None:
        """Return why not, if blocks stand out at an edge."""
        if shape.rows % self.r == 0 and shape.columns % self.c == 0:
            return None
        fits = f"block:{math.gcd(self.r, shape.rows)}x{math.gcd(self.c, shape.columns)}"
        matrix = f"{shape.rows} by {shape.inputs}"
        if self.r > shape.rows or self.c > shape.columns:
            return f"pattern {self.name} is larger than the weight, {matrix}; {fits} would fit"
        return (
            f"pattern {self.name} needs out_features divisible by {self.r} and in_features by "
            f"{self.c}, not {matrix}; {fits} would fit"
        )

    def grid(self, shape: Shape) -> Grid:
        """Return [out / R, R, in / C, C]."""
        return Grid((shape.rows // self.r, self.r, shape.columns // self.c, self.c), (1, 3))
