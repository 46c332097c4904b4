"""Prints the results of a run as they come, keeps them as CSV, and compares them with the targets.

One way for linear layers and convolutions; what they differ in is named here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import conv_cases, dense_conv, record, report, targets
from benchmarks.peers import CONVS, INT8, PEERS
from benchmarks.result import Result
from benchmarks.roofline import Roofline
from benchmarks.targets import Asked

Say = Callable[[object], None]


@dataclass(frozen=True)
class Kind:
    """What the tables of one kind of layer have.

    Args:
        dense: dense libraries with a column.
        peers: other libraries, in order.
        targets: lines of the last table.
        columns: its columns.
        title: of the results of one group.
    """

    dense: Sequence[str]
    peers: Callable[[], Sequence[str]]
    targets: Sequence[Asked]
    columns: Sequence[str]
    title: Callable[[Result], str]


def _linear_title(result: Result) -> str:
    rows = result.case.rows
    return f"{result.case.columns['out_features']}x{result.case.columns['in_features']}, " + (
        f"{rows} row{'s' * (rows != 1)}"
    )


def _conv_title(result: Result) -> str:
    case = result.case
    assert isinstance(case, conv_cases.ConvCase)
    return f"{case.shape.label}, {case.images} image{'s' * (case.images != 1)}"


LINEAR = Kind(
    dense=record.DENSE,
    peers=lambda: [*PEERS.names(), *INT8.names()],
    targets=targets.TARGETS,
    columns=targets.COLUMNS,
    title=_linear_title,
)
CONV = Kind(
    dense=dense_conv.LIBRARIES,
    peers=CONVS.names,
    targets=conv_cases.TARGETS,
    columns=conv_cases.COLUMNS,
    title=_conv_title,
)


@dataclass(frozen=True)
class Keeper:
    """Where and with what results are kept.

    Args:
        path: a CSV file; None keeps nothing.
        facts: its first columns.
        roofline: what was probed.
    """

    path: Path | None
    facts: Mapping[str, str]
    roofline: Roofline | None = None

    def tell(self) -> None:
        """Print where they went."""
        if self.path:
            print(f"\nkept in {self.path}")


def show(kind: Kind, groups: Iterable[list[Result]], keeper: Keeper, peers: bool, say: Say) -> None:
    """Print and keep groups of results as they come, then what was asked and what was got.

    Args:
        kind: of the layers.
        groups: results that stand in one table.
        keeper: where they are kept.
        peers: whether other libraries were measured, and have a column.
        say: prints.
    """
    names = kind.peers()
    results: list[Result] = []
    for group in groups:
        results += group
        say(f"\n{kind.title(group[0])}")
        say("\n".join(report.lines(group, names if peers else [], kind.dense)))
        if keeper.path:
            rows = [record.row(r, keeper.facts, keeper.roofline, names, kind.dense) for r in group]
            record.append(keeper.path, rows)
    say("\n" + report.LEGEND)
    say("\n" + "\n".join(report.target_lines(results, kind.targets, kind.columns)))
    keeper.tell()
