"""The benchmarks' command line: run.py linear|conv|nets|mlp|pack|memory|pruning|... [--quick] ...

Tests first, then the machine's ceilings, then the cases; README.md tells how to read the tables.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

if __name__ == "__main__" and not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import (
    conv,
    conv_cases,
    linear,
    machine,
    memory,
    mlp,
    pack,
    permutation,
    pruning,
    readme,
    record,
    resident,
    roofline,
    scratch,
    tables,
    verify,
    whole,
)
from benchmarks.cases import (
    FREE,
    PATTERNS,
    QUICK_ROWS,
    ROWS,
    SHAPES,
    SPARSITIES,
    VALUES,
    Selection,
    parse_nm,
    parse_shape,
    parse_values,
)
from benchmarks.timing import Plan

RESULTS = Path(__file__).resolve().parent / "results"
Parsed = TypeVar("Parsed")
Say = Callable[[object], None]

ROUNDS, QUICK_ROUNDS = 20, 7
QUICK_VALUES = ("fp32",)
"""A figure that is published comes from ROUNDS or more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0, however slow the kernels are; 1 if their tests do not pass.
    """
    chosen = parser().parse_args(arguments)
    if chosen.what == "conv" and chosen.shapes is not SHAPES:
        try:
            conv_cases.with_channels(chosen.shapes)
        except ValueError as error:
            parser().error(str(error))
    given = sys.argv[1:] if arguments is None else arguments
    chosen.command = " ".join(["python benchmarks/run.py", *given])
    if chosen.verify:
        print("tests first ...", flush=True)
        verdict = verify.verify(verify.TESTS[chosen.what], but=_never_timed(chosen))
        print(f"tests: {verdict.summary}", flush=True)
        if not verdict.green:
            print("No speed is printed for kernels whose tests do not pass.")
            return 1
    else:
        print("tests: NOT RUN (--no-verify); the figures below are claims about unverified kernels")
    measure(chosen)
    return 0


def _never_timed(chosen: argparse.Namespace) -> str:
    """Return what names the kernels that a quick run does not get to; the full run tests all."""
    cpu: Any = importlib.import_module("secateur.backends.cpu")
    named = chosen.kernel or ""
    return "portable" if chosen.quick and not named and cpu.isa() != "portable" else ""


def measure(chosen: argparse.Namespace) -> None:
    """Measure what was asked for, print it, and keep it where that is asked too."""
    torch.set_num_threads(chosen.threads)
    facts = machine.facts(chosen.threads)
    said: list[str] = []

    def say(text: object) -> None:
        said.append(str(text))
        print(text, flush=True)

    say(", ".join(f"{key} {value}" for key, value in facts.items()))
    WHATS[chosen.what](chosen, facts, say)
    if chosen.write_readme:
        readme.write(chosen.what, chosen.command, said)
        print(f"written to {readme.README}")


def measure_linear(chosen: argparse.Namespace, facts: Mapping[str, str], say: Say) -> None:
    """Time layers against dense and sparse libraries, under the machine's ceilings."""
    ceiling = probe(chosen.threads, say)
    options = linear.Options(
        selection=selection(chosen),
        plan=plan(chosen),
        peers=not chosen.quick,
        kernel=chosen.kernel,
        roofline=ceiling,
    )
    groups = linear.run(options, say)
    tables.show(tables.LINEAR, groups, keeper(chosen, facts, ceiling), options.peers, say)


def keeper(
    chosen: argparse.Namespace, facts: Mapping[str, str], ceiling: roofline.Roofline | None = None
) -> tables.Keeper:
    """Return where results go: a file of the benchmark's name, and none of a quick run's."""
    path = chosen.csv or (None if chosen.quick else RESULTS / f"{chosen.what}.csv")
    return tables.Keeper(path, facts, ceiling)


def measure_mlp(chosen: argparse.Namespace, _facts: Mapping[str, str], say: Say) -> None:
    """Time two layers in one call against a call each."""
    own = chosen.shapes is not SHAPES
    options = mlp.Options(
        plan=plan(chosen),
        shapes=[(in_, out) for out, in_ in chosen.shapes] if own else mlp.SHAPES,
        rows=chosen.rows or mlp.ROWS,
        sparsities=mlp.SPARSITIES if chosen.sparsity is SPARSITIES else chosen.sparsity,
    )
    for line in mlp.run(options, say):
        say(line)


def measure_conv(chosen: argparse.Namespace, facts: Mapping[str, str], say: Say) -> None:
    """Time convolutions of ResNet-50 against dense and sparse libraries."""
    all_shapes = chosen.shapes is SHAPES
    shapes = conv_cases.SHAPES if all_shapes else conv_cases.with_channels(chosen.shapes)
    ceiling = probe(chosen.threads, say)
    options = conv.Options(
        plan=plan(chosen),
        shapes=shapes,
        images=chosen.rows or (1,),
        sparsities=chosen.sparsity,
        patterns=conv_cases.PATTERNS if chosen.pattern is PATTERNS else chosen.pattern,
        peers=not chosen.quick,
        kernel=chosen.kernel,
        roofline=ceiling,
    )
    groups = conv.run(options, say)
    tables.show(tables.CONV, groups, keeper(chosen, facts, ceiling), options.peers, say)


def measure_nets(chosen: argparse.Namespace, facts: Mapping[str, str], say: Say) -> None:
    """Time whole networks against the dense libraries."""
    own = chosen.sparsity is not SPARSITIES
    options = whole.Options(
        plan=plan(chosen),
        sparsities=chosen.sparsity if own else whole.SPARSITIES,
        images=chosen.rows or ((1,) if chosen.quick else None),
        nets=chosen.nets or (("resnet50",) if chosen.quick else tuple(whole.NETS)),
    )
    kept, results = keeper(chosen, facts), []
    for group in whole.run(options, say):
        results += group
        if kept.path:
            record.append(kept.path, [result.row(facts) for result in group])
    say("\n" + "\n".join(whole.target_lines(results)))
    kept.tell()


def measure_pack(chosen: argparse.Namespace, _facts: Mapping[str, str], say: Say) -> None:
    """Time packing against dense calls, and find its peak of memory."""
    costs = list(pack.run(selection(chosen), plan(chosen)))
    say("\n" + "\n".join(pack.lines(costs)))
    say(f"asked/got: dense calls at {pack.ROWS} rows; dense weights beside the dense one")


def measure_memory(chosen: argparse.Namespace, _facts: Mapping[str, str], say: Say) -> None:
    """Compare what is resident before and after a conversion."""
    chosen.shapes = [memory.SHAPE] if chosen.shapes is SHAPES else chosen.shapes
    try:
        savings = list(memory.run(selection(chosen)))
    except resident.Unknown as reason:
        say(f"memory: skipped, {reason}")
        return
    say("\n" + "\n".join(memory.lines(savings)))
    say(f"{memory.LAYERS} layers, converted with gate='always', the dense model let go of")
    try:
        measured = list(scratch.run())
    except resident.Unknown as reason:
        say(f"scratch: skipped, {reason}")
        return
    say("\n" + "\n".join(scratch.lines(measured)))
    say("scratch of a convolution of one image, 90 % zeros; asked: no more than x and y together")


def measure_pruning(chosen: argparse.Namespace, _facts: Mapping[str, str], say: Say) -> None:
    """Time what finds masks and what keeps them."""
    pruning.run(plan(chosen), say)


def measure_permutation(chosen: argparse.Namespace, _facts: Mapping[str, str], say: Say) -> None:
    """Search orders of channels: what is kept, and how long it takes."""
    shapes = permutation.SHAPES if chosen.shapes is SHAPES else chosen.shapes
    for line in permutation.run(permutation.QUICK_SHAPES if chosen.quick else shapes):
        say(line)


WHATS = {
    "linear": measure_linear,
    "conv": measure_conv,
    "nets": measure_nets,
    "mlp": measure_mlp,
    "pack": measure_pack,
    "memory": measure_memory,
    "pruning": measure_pruning,
    "permutation": measure_permutation,
}


def probe(threads: int, say: Say = print) -> roofline.Roofline | None:
    """Return the ceilings, or None after saying why there are none."""
    try:
        ceiling = roofline.probe(threads)
    except roofline.Unavailable as reason:
        say(f"no roofline, so no % of bound: {reason}")
        return None
    say(ceiling)
    return ceiling


def selection(chosen: argparse.Namespace) -> Selection:
    """Return the cases the command line asks for."""
    rows = chosen.rows or (QUICK_ROWS if chosen.quick else ROWS)
    values = chosen.values or (QUICK_VALUES if chosen.quick else None)
    return Selection(chosen.shapes, rows, chosen.sparsity, chosen.pattern, values)


def plan(chosen: argparse.Namespace) -> Plan:
    """Return how many rounds the command line asks for."""
    return Plan(rounds=chosen.rounds or (QUICK_ROUNDS if chosen.quick else ROUNDS))


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    made = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    add = made.add_argument
    add("what", nargs="?", choices=list(WHATS), default="linear", help="what to measure")
    add("--quick", action="store_true",
        help=f"{' and '.join(map(str, QUICK_ROWS))} rows, {QUICK_ROUNDS} runs, no sparse peers, "
        "nothing kept unless --csv is given")  # fmt: skip
    add("--shapes", nargs="+", type=_checked(parse_shape), default=SHAPES, metavar="OUTxIN",
        help="of the layer; for mlp of the first; for conv all of these channels")  # fmt: skip
    add("--nets", nargs="+", choices=tuple(whole.NETS), help="for nets: which")
    add("--rows", nargs="+", type=_checked(_positive), metavar="N",
        help="rows of x (tokens); for conv and nets, images of the batch")  # fmt: skip
    add("--sparsity", nargs="+", type=_checked(_share), default=SPARSITIES, metavar="S",
        help="shares of zeros, 0 to 1, of unstructured weights")  # fmt: skip
    add("--pattern", nargs="+", type=_checked(_pattern), default=PATTERNS, metavar="P",
        help=f"{', '.join(FREE)}, or N:M with N kept of M")  # fmt: skip
    add("--values", nargs="+", type=_checked(parse_values), metavar="V",
        help=f"types of the packed values: {', '.join(VALUES)}; fp32, and where a target asks "
        "for them bf16 and int8, unless given")  # fmt: skip
    add("--threads", type=_checked(_positive), default=1, metavar="N")
    add("--rounds", type=_checked(_positive), metavar="N", help=f"runs; {ROUNDS} unless --quick")
    add("--kernel", metavar="NAME", help="force this kernel where it applies")
    add("--csv", type=Path, metavar="PATH", help="where results go; results/linear.csv "
        "(conv.csv, nets.csv) unless --quick")  # fmt: skip
    add("--write-readme", action="store_true", help="put what is printed into README.md")
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
    if text not in FREE:
        parse_nm(text)
    return text


if __name__ == "__main__":
    sys.exit(main())
