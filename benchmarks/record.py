"""Keeps results: one CSV line per case, with where, when and with what it was taken."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.result import Result
from benchmarks.roofline import Roofline


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
    result: Result, facts: Mapping[str, str], roofline: Roofline | None, peers: Sequence[str]
) -> dict[str, str]:
    """Return one result as CSV columns; seconds, FLOP/s and bytes, without prefixes."""
    case, speedup, bound = result.case, result.speedup, result.bound
    low, high = speedup.quartiles
    probed = {
        "probe_fma": f"{roofline.fma:.4g}" if roofline else "",
        "probe_operand": f"{roofline.operand:.4g}" if roofline else "",
        "probe_l3": f"{roofline.read['L3']:.4g}" if roofline else "",
        "probe_dram": f"{roofline.read['DRAM']:.4g}" if roofline else "",
    }
    return {
        **facts,
        "pattern": case.pattern,
        "values": case.values,
        "out_features": str(case.out_features),
        "in_features": str(case.in_features),
        "rows": str(case.rows),
        "sparsity": f"{case.sparsity:g}",
        "cold": str(int(case.cold)),
        "rounds": str(len(result.sparse.values)),
        "kernel": result.kernel,
        "sparse_s": f"{result.sparse.median:.6g}",
        "sparse_spread": f"{result.sparse.spread:.3f}",
        "torch_s": _seconds(result, "torch"),
        "ort_s": _seconds(result, "ort"),
        **{
            f"{name}_s": f"{result.peers[name].median:.6g}" if name in result.peers else ""
            for name in peers
        },
        "best_dense": result.best_dense,
        "speedup": f"{speedup.median:.4g}",
        "speedup_low": f"{low:.4g}",
        "speedup_high": f"{high:.4g}",
        "useful_flops": f"{result.useful_rate:.4g}",
        "dense_flops": f"{result.dense_rate:.4g}",
        "packed_bytes": str(result.packed_bytes),
        "bytes_moved": str(result.work.bytes_moved),
        "bound_s": f"{bound.seconds:.6g}" if bound else "",
        "bound_kind": bound.kind if bound else "",
        **probed,
    }


def _seconds(result: Result, name: str) -> str:
    return f"{result.dense[name].median:.6g}" if name in result.dense else ""
