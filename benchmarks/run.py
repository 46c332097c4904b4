"""The benchmarks' command line: python benchmarks/run.py linear [--quick] ...

Tests first, then the machine's ceilings, then the cases; README.md tells how to read the tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

if __name__ == "__main__" and not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import linear, machine, record, report, roofline, verify
from benchmarks.cases import (
    PATTERNS,
    QUICK_ROWS,
    ROWS,
    SHAPES,
    SPARSITIES,
    Selection,
    parse_nm,
    parse_shape,
)
from benchmarks.peers import PEERS
from benchmarks.result import Result
from benchmarks.timing import Plan

CSV = Path(__file__).resolve().parent / "results" / "linear.csv"
Parsed = TypeVar("Parsed")

ROUNDS, QUICK_ROUNDS = 20, 7
"""A figure that is published comes from ROUNDS or more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0, however slow the kernels are; 1 if their tests do not pass.
    """
    chosen = parser().parse_args(arguments)
    if chosen.verify:
        print("tests first ...", flush=True)
        verdict = verify.verify()
        print(f"tests: {verdict.summary}", flush=True)
        if not verdict.green:
            print("No speed is printed for kernels whose tests do not pass.")
            return 1
    else:
        print("tests: NOT RUN (--no-verify); the figures below are claims about unverified kernels")
    measure(chosen)
    return 0


def measure(chosen: argparse.Namespace) -> None:
    """Probe, measure, print, and keep the results."""
    torch.set_num_threads(chosen.threads)
    facts = machine.facts(chosen.threads)
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    ceiling = probe(chosen.threads)
    options = linear.Options(
        selection=selection(chosen),
        plan=Plan(rounds=chosen.rounds or (QUICK_ROUNDS if chosen.quick else ROUNDS)),
        peers=not chosen.quick,
        kernel=chosen.kernel,
        roofline=ceiling,
    )
    names = list(PEERS) if options.peers else []
    path = chosen.csv or (None if chosen.quick else CSV)
    results: list[Result] = []
    for group in linear.run(options, print):
        results += group
        print(f"\n{group[0].case.shape}, {group[0].case.rows} rows")
        print("\n".join(report.lines(group, names)), flush=True)
        if path:
            record.append(path, [record.row(r, facts, ceiling, list(PEERS)) for r in group])
    print("\n" + report.LEGEND)
    print("\n" + "\n".join(report.target_lines(results)))
    if path:
        print(f"\nkept in {path}")


def probe(threads: int) -> roofline.Roofline | None:
    """Return the ceilings, or None after saying why there are none."""
    try:
        ceiling = roofline.probe(threads)
    except roofline.Unavailable as reason:
        print(f"no roofline, so no % of bound: {reason}")
        return None
    print(ceiling, flush=True)
    return ceiling


def selection(chosen: argparse.Namespace) -> Selection:
    """Return the cases the command line asks for."""
    rows = chosen.rows or (QUICK_ROWS if chosen.quick else ROWS)
    return Selection(chosen.shapes, rows, chosen.sparsity, chosen.pattern)


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    made = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    add = made.add_argument
    add("what", nargs="?", choices=["linear"], default="linear", help="what to measure")
    add("--quick", action="store_true",
        help=f"{' and '.join(map(str, QUICK_ROWS))} rows, {QUICK_ROUNDS} runs, no sparse peers, "
        "nothing kept unless --csv is given")  # fmt: skip
    add("--shapes", nargs="+", type=_checked(parse_shape), default=SHAPES, metavar="OUTxIN")
    add("--rows", nargs="+", type=_checked(_positive), metavar="N", help="rows of x (tokens)")
    add("--sparsity", nargs="+", type=_checked(_share), default=SPARSITIES, metavar="S",
        help="shares of zeros, 0 to 1, of unstructured weights")  # fmt: skip
    add("--pattern", nargs="+", type=_checked(_pattern), default=PATTERNS, metavar="P",
        help="csr (unstructured) or N:M, N kept of M")  # fmt: skip
    add("--threads", type=_checked(_positive), default=1, metavar="N")
    add("--rounds", type=_checked(_positive), metavar="N", help=f"runs; {ROUNDS} unless --quick")
    add("--kernel", metavar="NAME", help="force this kernel where it applies")
    add("--csv", type=Path, metavar="PATH", help=f"where results go; {CSV.name} unless --quick")
    add("--no-verify", dest="verify", action="store_false",
        help="do not run the kernels' tests first; the output says so")  # fmt: skip
    return made


def _checked(function: Callable[[str], Parsed]) -> Callable[[str], Parsed]:
    """Let argparse print the message of a ValueError instead of the function's name."""

    def convert(text: str) -> Parsed:
        try:
            return function(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(f"must be at least 1, got {value}")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise ValueError(f"must be in [0, 1), got {value}")
    return value


def _pattern(text: str) -> str:
    if text != "csr":
        parse_nm(text)
    return text


if __name__ == "__main__":
    sys.exit(main())
