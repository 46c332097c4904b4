"""Tables of plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Return `rows` under `header` in columns, those numbered in `left` to the left."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    return "\n".join(map(line, lines))


def bytes_text(count: int) -> str:
    """Return a byte count as people read it, in powers of 1024."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.2f} GiB"


def ms_text(ms: float) -> str:
    """Return milliseconds with three significant digits."""
    return f"{ms:.3g}" if ms < 100 else f"{ms:.0f}"


def ratio_text(ratio: float) -> str:
    """Return a ratio with two digits, never rounded up: 1.0999 is not 1.1x."""
    return f"{math.floor(ratio * 100) / 100:.2f}x"
