"""The speed-ups asked for, one line per kind of case; report.py compares results with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks.cases import SHAPES, Case

LARGE = tuple(shape for shape in SHAPES if shape[0] * shape[1] >= 4096 * 4096)
COLUMNS = ("2:4", "50%", "70%", "80%", "90%", "95%")


class Asked(Protocol):
    """A line of a target table."""

    @property
    def label(self) -> str:
        """What it begins with."""

    @property
    def asked(self) -> Mapping[str, float | None]:
        """Speed-ups by column; of None, and where there is none, only the gate's answer is told."""

    @property
    def count(self) -> int:
        """How many cases of one column it is a mean of."""

    def wants(self, case: Any) -> bool:
        """Tell whether a case is one of them, of whatever column."""


@dataclass(frozen=True)
class Target:
    """Speed-up over the best dense library, a geometric mean over shapes, by column.

    A column whose number is None asks for no speed-up, only for the gate's answer. `values` is
    the type of the packed values.
    """

    label: str
    rows: int
    shapes: tuple[tuple[int, int], ...]
    asked: Mapping[str, float | None] = field(default_factory=dict)
    values: str = "fp32"

    @property
    def count(self) -> int:
        """How many cases of one column it is a mean of."""
        return len(self.shapes)

    def wants(self, case: Case) -> bool:
        """Tell whether a case is one of them, of whatever column."""
        shape = (case.out_features, case.in_features)
        return (case.rows, case.values) == (self.rows, self.values) and shape in self.shapes


def _asked(*numbers: float | None) -> dict[str, float | None]:
    return dict(zip(COLUMNS, numbers, strict=True))


def _narrow(values: str) -> Target:
    asked = _asked(3.0, 2.3, 2.3, 3.0, 6.0, 12.0)
    return Target(f"1 row, 4096x4096 and up, {values} values", 1, LARGE, asked, values)


_MANY = _asked(1.6, 1.5, 2.4, 3.4, 5.8, 9.0)

TARGETS = (
    Target("1024 rows", 1024, SHAPES, _MANY),
    Target("256 rows", 256, SHAPES, _MANY),
    Target("16 rows", 16, SHAPES, _asked(1.5, 1.2, 2.2, 3.2, 6.0, 10.0)),
    Target("1 row, 4096x4096 and up (DRAM)", 1, LARGE, _asked(1.7, 1.5, 2.0, 2.8, 5.5, 10.0)),
    _narrow("bf16"),
    _narrow("int8"),
    Target("1 row, 3072x768 (cached)", 1, ((3072, 768),), _asked(1.5, None, None, 1.3, 2.5, 4.5)),
)
