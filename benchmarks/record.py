"""Keeps results: one CSV line per case, with where, when and with what it was taken."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.result import Result, Timed
from benchmarks.roofline import Roofline
from benchmarks.timing import Samples

DENSE = ("torch", "ort")
"""Dense libraries of a linear layer."""


def append(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Append rows to a CSV file, which is begun if there is none.

    Raises:
        ValueError: if the file has other columns.
    """
    if not rows:
        return
    columns = list(rows[0])
    fresh = not path.exists() or path.stat().st_size == 0
    if not fresh:
        with path.open(newline="") as file:
            there = next(csv.reader(file))
        if there != columns:
            differ = ", ".join(sorted(set(there) ^ set(columns))) or "their order"
            raise ValueError(
                f"{path} has other columns than this run ({differ}); choose another file with --csv"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerows(rows)


def row(
    result: Result,
    facts: Mapping[str, str],
    roofline: Roofline | None,
    peers: Sequence[str],
    dense: Sequence[str] = DENSE,
) -> dict[str, str]:
    """Return one result as CSV columns; seconds, FLOP/s and bytes, without prefixes.

    Args:
        result: what was measured.
        facts: columns that go first.
        roofline: the ceilings it was judged by.
        peers: libraries that have a column, whether they were measured or not.
        dense: dense libraries that have one.
    """
    bound = result.bound
    probed = {
        "probe_fma": f"{roofline.fma:.4g}" if roofline else "",
        "probe_operand": f"{roofline.operand:.4g}" if roofline else "",
        "probe_l3": f"{roofline.read['L3']:.4g}" if roofline else "",
        "probe_dram": f"{roofline.read['DRAM']:.4g}" if roofline else "",
    }
    return {
        **facts,
        **result.case.columns,
        "rounds": str(len(result.sparse.values)),
        "kernel": result.kernel,
        **seconds(result, dense),
        **{f"{name}_s": _seconds(result.peers, name) for name in peers},
        **ratios(result),
        "useful_flops": f"{result.useful_rate:.4g}",
        "dense_flops": f"{result.dense_rate:.4g}",
        "packed_bytes": str(result.packed_bytes),
        "bytes_moved": str(result.work.bytes_moved),
        "bound_s": f"{bound.seconds:.6g}" if bound else "",
        "bound_kind": bound.kind if bound else "",
        **probed,
    }


def seconds(timed: Timed, dense: Sequence[str]) -> dict[str, str]:
    """Return the times of the subject and of the dense libraries as CSV columns."""
    return {
        "sparse_s": f"{timed.sparse.median:.6g}",
        "sparse_spread": f"{timed.sparse.spread:.3f}",
        **{f"{name}_s": _seconds(timed.dense, name) for name in dense},
    }


def ratios(timed: Timed) -> dict[str, str]:
    """Return the speed-up, and over what, as CSV columns."""
    low, high = timed.speedup.quartiles
    return {
        "best_dense": timed.best_dense,
        "speedup": f"{timed.speedup.median:.4g}",
        "speedup_low": f"{low:.4g}",
        "speedup_high": f"{high:.4g}",
    }


def _seconds(measured: Mapping[str, Samples], name: str) -> str:
    return f"{measured[name].median:.6g}" if name in measured else ""
