"""Results as text: one line per case, then what was asked against what was got."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.record import DENSE
from benchmarks.result import Result, Timed, geometric_mean
from benchmarks.targets import COLUMNS, TARGETS, Asked

GATE_MARGIN = 1.1
"""A gate takes the sparse kernel only where it is this much faster than the best dense."""

RATES = ("GF/s useful", "GF/s dense-eq", "MB moved", "B/weight", "% of bound", "kernel")


def timed_headings(dense: Sequence[str] = DENSE) -> list[str]:
    """Return the headings of `timed_cells`."""
    return [*(f"{name} ms" for name in dense), "sparse ms", "speed-up"]


HEADINGS = ("case", *timed_headings(), *RATES)
DENSE_BESIDE = ("int8",)
"""Dense libraries that compute less exactly: printed, no speed-up is over them."""

LEGEND = """\
speed-up: over the faster dense library, median of the ratios of each round, ± half the distance of
the quartiles. <1 is a loss. % of bound: the least time possible (L1 load ports, or reading the
bytes from the level named) over the time taken. "cold": every call reads its weights from DRAM.
B/weight: packed bytes per weight of the dense layer, which has 4. Behind the kernel: what other
libraries took on the same weight, and in brackets how many times ours; below 1 they are faster.
int8 is dense, its weights and x rounded to int8."""


def lines(
    results: Sequence[Result], names: Sequence[str], dense: Sequence[str] = DENSE
) -> list[str]:
    """Return the table of cases, heading first.

    Args:
        results: one line each, in this order.
        names: sparse libraries to add as columns: milliseconds, and their time over ours. Dense
            libraries of other types follow where they were measured.
        dense: dense libraries that have a column.
    """
    names = [*(n for n in names if n not in DENSE_BESIDE), *DENSE_BESIDE]
    names = [n for n in names if n not in DENSE_BESIDE or any(n in r.peers for r in results)]
    headings = ["case", *timed_headings(dense), *RATES, *(f"{name} ms" for name in names)]
    return aligned([headings, *([*cells(r, dense), *_peer_cells(r, names)] for r in results)])


def timed_cells(timed: Timed, dense: Sequence[str] = DENSE) -> list[str]:
    """Return the cells of `timed_headings`: milliseconds, and the speed-up; both with spread."""
    speedup = timed.speedup
    loss = " loss" if speedup.median < 1 else ""
    return [
        *(_milliseconds(timed, name) for name in dense),
        f"{timed.sparse.median * 1e3:.4g} ±{timed.sparse.spread:.0%}",
        f"{speedup.median:.2f} ±{speedup.spread:.0%}{loss}",
    ]


def cells(result: Result, dense: Sequence[str] = DENSE) -> list[str]:
    """Return one case's cells: its label, those of `timed_headings`, and `RATES`."""
    return [
        result.case.label,
        *timed_cells(result, dense),
        f"{result.useful_rate / 1e9:.1f}",
        f"{result.dense_rate / 1e9:.1f}",
        f"{result.work.bytes_moved / 1e6:.2f}",
        f"{result.bytes_per_weight:.2f}",
        _share(result),
        result.kernel,
    ]


def target_lines(
    results: Sequence[Result],
    targets: Sequence[Asked] = TARGETS,
    columns: Sequence[str] = COLUMNS,
) -> list[str]:
    """Return the table of targets: "asked/got" by kind of case and column.

    A mean over fewer shapes than the target names is marked with *.
    """
    rows = [["asked/got", *columns]]
    for target in targets:
        row = [target_cell(target, column, results) for column in columns]
        if any(cell != "" for cell in row):
            rows.append([target.label, *row])
    if len(rows) == 1:
        return ["no case of this run belongs to a target"]
    notes = ["geometric mean over shapes of the speed-up over the faster dense library"]
    if any("*" in cell for row in rows for cell in row[1:]):
        notes.append("* not all shapes of the target were measured")
    return [*aligned(rows), *notes]


def target_cell(target: Asked, column: str, results: Sequence[Result]) -> str:
    """Return `asked_cell` of the results that a target is about; "" where none was measured."""
    found = [r for r in results if r.case.column == column and target.wants(r.case)]
    if not found:
        return ""
    got = geometric_mean(r.speedup.median for r in found)
    partial = "*" if len(found) < target.count else ""
    return asked_cell(target.asked.get(column), got, partial)


def asked_cell(asked: float | None, got: float, partial: str = "") -> str:
    """Return "asked/got" with " miss" where got is less; `partial` stands behind got.

    Where no speed-up is asked, what a gate would answer stands in the place of the number asked.
    """
    if asked is None:
        answer = "sparse" if got >= GATE_MARGIN else "dense"
        return f"gate {answer}/{got:.2f}{partial}"
    return f"{asked:g}/{got:.2f}{partial}{' miss' if got < asked else ''}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with columns of equal width, the first column to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _milliseconds(timed: Timed, name: str) -> str:
    if name not in timed.dense:
        return "-"
    mark = "*" if name == timed.best_dense and len(timed.dense) > 1 else ""
    return f"{mark}{timed.dense[name].median * 1e3:.4g}"


def _peer_cells(result: Result, names: Sequence[str]) -> list[str]:
    return [
        f"{result.peers[name].median * 1e3:.4g} ({result.over(name).median:.2f}x)"
        if name in result.peers
        else "-"
        for name in names
    ]


def _share(result: Result) -> str:
    if result.bound is None or result.share_of_bound is None:
        return "-"
    return f"{result.share_of_bound:.0%} {result.bound.kind}"
