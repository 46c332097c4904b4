"""What a pattern must know of a weight beside its scores: how its rows and columns are meant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A weight as a matrix [rows, columns], and what a row or a column stands for.

    Attributes:
        rows: outputs.
        columns: inputs; of a convolution taps * channels, the channel fastest.
        taps: positions of a convolution's kernel, kh * kw; 1 for a linear layer.
        groups: of a convolution; rows are divided evenly among them, in order.
        heads: attention heads that the module says it has, if it does.
        stacked: projections that stand on top of each other in the rows: 3 for q, k and v in one.
    """

    rows: int
    columns: int
    taps: int = 1
    groups: int = 1
    heads: int | None = None
    stacked: int = 1

    @property
    def channels(self) -> int:
        """Input channels that one row sees."""
        return self.columns // self.taps

    @property
    def inputs(self) -> str:
        """The number of columns in words, for errors."""
        if self.taps == 1:
            return str(self.columns)
        return f"{self.columns} ({self.taps} taps x {self.channels} channels)"
