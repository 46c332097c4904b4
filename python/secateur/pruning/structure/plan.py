"""What goes, agreed between what was asked for and what can follow; as data and as a report."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from secateur.pruning.structure.apply import Kept
from secateur.pruning.structure.choose import Choice
from secateur.pruning.structure.groups import Group, Outcome, Solver, groups_of, settle, why_broken
from secateur.pruning.structure.report import GroupReport, Part, Report, Stay
from secateur.pruning.structure.trace import Trace


@dataclass(frozen=True)
class Plan:
    """What goes.

    Attributes:
        trace: of the model.
        groups: channels that may go.
        choice: which of them do.
        kept: the same, as data that needs no trace.
    """

    trace: Trace
    groups: Sequence[Group]
    choice: Choice
    kept: Kept

    @classmethod
    def of(cls, trace: Trace, choose: Callable[[Sequence[Group]], Choice]) -> Plan:
        """Return the plan of what `choose` wants; what cannot go together stays."""
        groups, choice, outcome = _agreed(trace, settle(trace), choose)
        return cls(trace, groups, choice, _kept(trace, choice.removed, outcome))

    def report(self, before: int, after: int) -> Report:
        """Return the report; `before` and `after` are the numbers that the parameters hold."""
        made = []
        for group in self.groups:
            left = len(group) - len(self.choice.removed & set(group.atoms.tolist()))
            members = group.members
            parts = tuple(Part(m.axis.name, m.axis.dim, m.positions.shape[1]) for m in members)
            why = self.choice.why.get(group, "")
            made.append(GroupReport(group.name, len(group), left, parts, why))
        return Report(tuple(made), tuple(self._stays()), before, after, self.kept)

    def _stays(self) -> list[Stay]:
        stays = []
        for axis in self.trace.axes:
            reasons = self.trace.labels.reasons(axis.labels)
            if axis.channels and len(axis.labels) > 1 and reasons:
                why = max(reasons, key=lambda r: reasons[r])
                fixed = sum(reasons.values())
                stays.append(Stay(axis.name, axis.dim, fixed, len(axis.labels), why))
        return stays


def _agreed(
    trace: Trace, groups: list[Group], choose: Callable[[Sequence[Group]], Choice]
) -> tuple[list[Group], Choice, Outcome]:
    """Return groups, what goes of them, and the attributes: what cannot go together stays."""
    while True:
        choice = choose(groups)
        outcome = Solver(trace).solve(choice.removed)
        if not outcome.broken:
            return groups, choice, outcome
        why = why_broken(outcome.broken[0])
        involved = outcome.involved or choice.removed
        for group in groups:
            if involved & set(group.atoms.tolist()):
                trace.labels.fix(group.atoms, why)
        groups = groups_of(trace)


def _kept(trace: Trace, removed: frozenset[int], outcome: Outcome) -> Kept:
    tensors: dict[str, list[list[int] | None]] = defaultdict(list)
    sizes: dict[str, list[int]] = defaultdict(list)
    for axis in trace.axes:
        gone = trace.labels.gone(axis.labels, removed)
        tensors[axis.name].append(np.flatnonzero(~gone).tolist() if gone.any() else None)
        sizes[axis.name].append(len(gone))
    changed = [name for name, dims in tensors.items() if any(d is not None for d in dims)]
    attributes: dict[str, dict[str, Any]] = defaultdict(dict)
    for attr, value in outcome.values.items():
        if attr.at is None:
            attributes[attr.module][attr.name] = value
        else:
            old = [int(n) for n in getattr(trace.names[attr.module], attr.name)]
            attributes[attr.module].setdefault(attr.name, old)[attr.at] = value
    scales = {}
    for norm in trace.norms:
        gone = trace.labels.gone(norm.labels, removed)
        if gone.any():
            module: Any = trace.names[norm.module]
            share = len(gone) / (len(gone) - int(gone.sum()))
            eps = torch.finfo(module.weight.dtype).eps if module.eps is None else module.eps
            attributes[norm.module]["eps"] = eps * share
            scales[f"{norm.module}.weight" if norm.module else "weight"] = math.sqrt(share)
    return {
        "tensors": {name: tensors[name] for name in changed},
        "sizes": {name: sizes[name] for name in changed},
        "attributes": dict(attributes),
        "scales": scales,
    }
