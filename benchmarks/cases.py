"""What is measured: one list of cases. How and against what is decided elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

SHAPES = ((3072, 768), (768, 3072), (768, 768), (4096, 4096), (11008, 4096))
"""(out_features, in_features) of the full run and of the targets."""

ROWS = (1, 16, 256, 1024)
QUICK_ROWS = (256, 1)
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
PATTERNS = ("csr", "2:4")
FREE = ("csr", "rows", "blocks")
"""Patterns of any sparsity: single weights, whole outputs and inputs, blocks of outputs."""

BLOCK = 16
"""Outputs that keep the same inputs where the pattern is "blocks"."""
VALUES = ("fp32", "bf16", "fp16", "int8")
"""Types of the packed values; x and y are fp32. int8 values have a scale for each row."""

COLD_BYTES = 64 << 20
"""A dense weight of this size or more is taken from DRAM in a real model, so all candidates of
its case rotate over copies that together exceed the caches."""


class Measured(Protocol):
    """What bounds, reports and records ask of a case, of a linear layer or a convolution."""

    @property
    def label(self) -> str:
        """The case in a word or five."""

    @property
    def column(self) -> str:
        """Of the target table."""

    @property
    def columns(self) -> dict[str, str]:
        """The case as columns of a CSV file."""

    @property
    def rows(self) -> int:
        """Rows of x: tokens, or pixels of y."""

    @property
    def weights(self) -> int:
        """Weights of the dense layer."""

    @property
    def elements(self) -> int:
        """Numbers of x and y."""

    @property
    def cold(self) -> bool:
        """Whether the weights are read from DRAM at every call."""


@dataclass(frozen=True)
class Case:
    """One sparse linear layer and one number of rows.

    Args:
        out_features: rows of the weight.
        in_features: columns of the weight.
        rows: rows of the input.
        pattern: "csr" (unstructured), "N:M" (N kept of M), or another of `FREE`.
        sparsity: share of the weights that is zero.
        values: type of the packed values, one of `VALUES`.
    """

    out_features: int
    in_features: int
    rows: int
    pattern: str
    sparsity: float
    values: str = "fp32"

    def __post_init__(self) -> None:
        if self.pattern not in FREE:
            kept, group = parse_nm(self.pattern)
            if self.in_features % group:
                raise ValueError(
                    f"pattern {self.pattern} needs in_features divisible by {group}; shape "
                    f"{self.shape} has {self.in_features}. Leave it out with --shapes"
                )
            object.__setattr__(self, "sparsity", 1 - kept / group)
        if not 0 <= self.sparsity < 1:
            raise ValueError(f"sparsity must be in [0, 1), but is {self.sparsity}")

    @property
    def shape(self) -> str:
        """The weight's shape as text, out x in."""
        return f"{self.out_features}x{self.in_features}"

    @property
    def weights(self) -> int:
        """Weights of the dense layer."""
        return self.out_features * self.in_features

    @property
    def elements(self) -> int:
        """Numbers of x and y."""
        return self.rows * (self.in_features + self.out_features)

    @property
    def column(self) -> str:
        """The column of the target table: "2:4", or the sparsity in percent, and its kind."""
        if self.pattern not in FREE:
            return self.pattern
        return f"{self.pattern} " * (self.pattern != "csr") + f"{self.sparsity:.0%}"

    @property
    def columns(self) -> dict[str, str]:
        """The case as columns of a CSV file."""
        return {
            "pattern": self.pattern,
            "values": self.values,
            "out_features": str(self.out_features),
            "in_features": str(self.in_features),
            "rows": str(self.rows),
            "sparsity": f"{self.sparsity:g}",
            "cold": str(int(self.cold)),
        }

    @property
    def label(self) -> str:
        """The case in a word or five."""
        values = "" if self.values == "fp32" else f" {self.values}"
        cold = " cold" if self.cold else ""
        return f"{self.shape} {self.column} x{self.rows}{values}{cold}"

    @property
    def cold(self) -> bool:
        """Whether the weights are read from DRAM at every call."""
        return self.weights * 4 >= COLD_BYTES


@dataclass(frozen=True)
class Selection:
    """What the command line asked for.

    Args:
        shapes: (out_features, in_features) of the weights.
        rows: rows of x.
        sparsities: shares of zeros of unstructured weights.
        patterns: "N:M", or of `FREE`.
        values: types of the packed values, for every case; None takes fp32, and bf16 and int8
            where a target asks for them: one row, weights from DRAM.
    """

    shapes: Sequence[tuple[int, int]] = SHAPES
    rows: Sequence[int] = ROWS
    sparsities: Sequence[float] = SPARSITIES
    patterns: Sequence[str] = PATTERNS
    values: Sequence[str] | None = None

    def values_of(self, shape: tuple[int, int], rows: int) -> Sequence[str]:
        """Return the types of values for one shape and row count."""
        if self.values is not None:
            return self.values
        narrow = rows == 1 and Case(*shape, rows, "csr", 0.0).cold
        return ("fp32", "bf16", "int8") if narrow else ("fp32",)


def cases(selection: Selection, shape: tuple[int, int], rows: int) -> list[Case]:
    """Return the cases of one shape and row count: they share the dense baselines."""
    found = []
    for values in selection.values_of(shape, rows):
        for pattern in selection.patterns:
            levels = selection.sparsities if pattern in FREE else (0.0,)
            found += [Case(*shape, rows, pattern, sparsity, values) for sparsity in levels]
    return found


def parse_nm(pattern: str) -> tuple[int, int]:
    """Return N and M of "N:M".

    Raises:
        ValueError: if the text is not of that form with 0 < N <= M.
    """
    found = re.fullmatch(r"(\d+):(\d+)", pattern)
    kept, group = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 0 < kept <= group:
        raise ValueError(
            f"pattern must be {', '.join(FREE)} or N:M with N kept of M, such as 2:4; "
            f"got {pattern!r}"
        )
    return kept, group


def parse_values(text: str) -> str:
    """Return `text` if it is one of `VALUES`.

    Raises:
        ValueError: if it is not.
    """
    if text not in VALUES:
        raise ValueError(f"values must be one of {', '.join(VALUES)}; got {text!r}")
    return text


def parse_shape(text: str) -> tuple[int, int]:
    """Return (out_features, in_features) of "OUTxIN".

    Raises:
        ValueError: if the text is not of that form.
    """
    found = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if not found or not int(found[1]) or not int(found[2]):
        raise ValueError(
            f"shape must be OUTxIN with both at least 1, such as 3072x768; got {text!r}"
        )
    return int(found[1]), int(found[2])
