"""What became of the channels of a model, as plain data; `print` shows tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from torch import nn

from secateur.pruning._table import table
from secateur.pruning.structure.apply import Kept

_ATTRIBUTE = "_secateur_structure"


@dataclass(frozen=True)
class Part:
    """One dimension of one tensor that a group has slices of.

    Attributes:
        name: of the parameter or buffer.
        dim: which dimension.
        positions: how many of its positions go with each channel.
    """

    name: str
    dim: int
    positions: int


@dataclass(frozen=True)
class GroupReport:
    """Channels that could go.

    Attributes:
        name: the first parameter they have slices of.
        before: how many there were.
        after: how many there are.
        parts: everything that goes with them.
        why: why no more went, in words; "" if as many went as were asked for.
    """

    name: str
    before: int
    after: int
    parts: tuple[Part, ...]
    why: str


@dataclass(frozen=True)
class Stay:
    """Positions along one dimension of a parameter that cannot go.

    Attributes:
        name: of the parameter.
        dim: which dimension.
        fixed: how many of its positions cannot go.
        size: how many it had.
        why: the reason; if there are several, that of most positions.
    """

    name: str
    dim: int
    fixed: int
    size: int
    why: str


@dataclass(frozen=True)
class Report:
    """What `shrink` did.

    Attributes:
        groups: channels that could go, and how many did.
        stays: what could not go, for each dimension of each parameter.
        parameters_before: how many numbers the parameters of the model held.
        parameters_after: how many they hold.
        kept: plain data for `apply`, which cuts a fresh model to the same sizes.
    """

    groups: tuple[GroupReport, ...]
    stays: tuple[Stay, ...]
    parameters_before: int
    parameters_after: int
    kept: Kept

    def __str__(self) -> str:
        before, after = self.parameters_before, self.parameters_after
        share = f" ({1 - after / before:.1%} fewer)" if before else ""
        lines = [
            table(("channels of", "before", "after", "tensors", "why no more"), self._groups())
        ]
        if self.stays:
            header = ("stays", "dim", "positions", "of", "why")
            lines += ["", table(header, _rows(self.stays))]
        return "\n".join([*lines, "", f"parameters: {before} -> {after}{share}"])

    def _groups(self) -> list[tuple[str, ...]]:
        return [
            (g.name, str(g.before), str(g.after), str(len({p.name for p in g.parts})), g.why)
            for g in self.groups
        ]


def _rows(stays: Sequence[Stay]) -> list[tuple[str, ...]]:
    return [(s.name, str(s.dim), str(s.fixed), str(s.size), s.why) for s in stays]


def report(model: nn.Module) -> Report:
    """Return what `shrink` reported when it made `model`.

    Raises:
        ValueError: if `shrink` did not make it.
    """
    found = getattr(model, _ATTRIBUTE, None)
    if found is None:
        raise ValueError("model: wanted one that shrink returned, got one without its report")
    return cast(Report, found)


def attach(model: nn.Module, made: Report) -> nn.Module:
    """Keep a report with its model, in place; return the model."""
    object.__setattr__(model, _ATTRIBUTE, made)
    return model
