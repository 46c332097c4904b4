"""Attention heads: the rows of a projection that make one head."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from secateur.pruning.patterns._base import PATTERNS
from secateur.pruning.patterns._whole import Grid, Whole
from secateur.pruning.shape import Shape

_WAY_OUT = 'say how many, as in "heads:12", or name the attention alone with targets'


@PATTERNS.register("heads:H")
@dataclass(frozen=True)
class Heads(Whole):
    """The rows of one head live or die as one; in q, k and v together where one weight holds them.

    nn.MultiheadAttention says how many heads it has and how its weight is stacked. A linear layer
    says neither, so a user does: "heads:12" is 12 heads in the rows of each weight, "heads:12x3"
    the same where q, k and v are stacked in one. Weights of different modules decide each for
    themselves; a head gives nothing but a constant once its rows of v are gone.

    Attributes:
        heads: how many; None where the module must say.
        stacked: projections on top of each other in the rows; None: what the module says, or 1.
    """

    heads: int | None = None
    stacked: int | None = None
    examples: ClassVar[tuple[str, ...]] = ("heads:4", "heads:8", "heads:4x2")
    within_rows: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The pattern as a user types it."""
        heads = "" if self.heads is None else f":{self.heads}"
        return f"heads{heads}" + ("" if self.stacked is None else f"x{self.stacked}")

    @classmethod
    def parse(cls, text: str) -> Heads | None:
        """Return the pattern that `text`, such as "heads" or "heads:12", names.

        Raises:
            ValueError: if it begins like one and is none.
        """
        if not text.startswith("heads"):
            return None
        numbers = re.fullmatch(r"heads(?::([1-9]\d*)(?:x([1-9]\d*))?)?", text)
        if numbers is None:
            raise ValueError(
                'pattern "heads" is followed by the number of heads, as in "heads:12", and by '
                f'that of stacked projections, as in "heads:12x3", not {text!r}'
            )
        return cls(*(None if n is None else int(n) for n in numbers.groups()))

    def misfit(self, shape: Shape) -> str | None:
        """Return why not, if heads are unknown, contradicted, or do not divide the rows."""
        if self.heads is None and shape.heads is None:
            return f"pattern heads cannot know how many heads this weight has: {_WAY_OUT}"
        if self.heads is not None and shape.heads not in (None, self.heads):
            return (
                f'pattern {self.name} contradicts the module, which has {shape.heads}; use "heads"'
            )
        heads, stacked = self._counts(shape)
        if shape.rows % (heads * stacked) == 0:
            return None
        parts = f"{heads} heads" + (f" x {stacked} projections" if stacked > 1 else "")
        return f"pattern {self.name} needs out_features divisible by {parts}, not {shape.rows}"

    def grid(self, shape: Shape) -> Grid:
        """Return [projections, heads, rows of a head, columns]."""
        heads, stacked = self._counts(shape)
        return Grid((stacked, heads, shape.rows // (heads * stacked), shape.columns), (0, 2, 3))

    def _counts(self, shape: Shape) -> tuple[int, int]:
        return self.heads or shape.heads or 1, self.stacked or shape.stacked
