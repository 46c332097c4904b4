"""Channels that go together: which there are, and what their going asks of the int attributes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from secateur.pruning.structure.ints import Attr, Both, Const, Count, Equation, Expr, leaves
from secateur.pruning.structure.labels import FIXED, Ids
from secateur.pruning.structure.trace import Axis, Trace


@dataclass(frozen=True, eq=False)
class Member:
    """What a group holds of one dimension of one tensor.

    Attributes:
        axis: the dimension.
        positions: [channels, positions that go with each].
    """

    axis: Axis
    positions: Ids


@dataclass(frozen=True, eq=False)
class Group:
    """Channels of a kind: each is one atom, and all hold as many positions of the same tensors.

    Attributes:
        atoms: one for each channel, in the order of the first member.
        members: where they are.
    """

    atoms: Ids
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """The first parameter it holds a slice of."""
        return self.members[0].axis.name

    def __len__(self) -> int:
        return len(self.atoms)

    def multiple(self, trace: Trace, round_to: int) -> int:
        """Return what the number kept must be a multiple of, for every width to be of round_to.

        Vectors (biases, norms) have the widths of the matrices they go with, and are not asked.
        """
        steps = [
            round_to // math.gcd(round_to, member.positions.shape[1])
            for member in self.members
            if member.axis.parameter and trace.matrices[member.axis.name]
        ]
        return math.lcm(*steps) if steps else round_to


def groups_of(trace: Trace) -> list[Group]:
    """Return the channels that may go, in the model's order."""
    atoms, axes, positions = _members(trace)
    if not len(atoms):
        return []
    order = np.lexsort((positions, axes, atoms))
    atoms, axes, positions = atoms[order], axes[order], positions[order]
    edges = np.flatnonzero((np.diff(atoms) != 0) | (np.diff(axes) != 0)) + 1
    starts = np.concatenate(([0], edges))
    ends = np.concatenate((edges, [len(atoms)]))
    held: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        held[int(atoms[start])].append((int(axes[start]), start, end))
    alike: dict[tuple[tuple[int, int, int], ...], list[int]] = defaultdict(list)
    for atom, pieces in held.items():
        alike[tuple(_shape(piece, positions) for piece in pieces)].append(atom)
    found = [
        _group(trace, sorted(same, key=lambda a: int(positions[held[a][0][1]])), held, positions)
        for same in alike.values()
    ]
    found = [group for group in found if any(m.axis.parameter for m in group.members)]
    place = {axis: i for i, axis in enumerate(trace.axes)}
    return sorted(
        found, key=lambda g: (place[g.members[0].axis], int(g.members[0].positions[0, 0]))
    )


def _members(trace: Trace) -> tuple[Ids, Ids, Ids]:
    """Return parallel arrays (atom, number of axis, position), one entry for each membership."""
    columns: list[tuple[Ids, Ids, Ids]] = [(np.zeros(0, np.int64),) * 3]
    for number, axis in enumerate(trace.axes):
        labels = trace.labels.find(axis.labels)
        mixed = trace.labels.mixed(labels)
        plain = np.flatnonzero((labels != FIXED) & ~mixed)
        columns.append((labels[plain], np.full(len(plain), number), plain))
        for label in np.unique(labels[mixed]):
            where = np.flatnonzero(labels == label)
            for atom in trace.labels.atoms(int(label)):
                columns.append((np.full(len(where), atom), np.full(len(where), number), where))
    atoms, axes, positions = (np.concatenate(c) for c in zip(*columns, strict=True))
    return atoms, axes, positions


def _shape(piece: tuple[int, int, int], positions: Ids) -> tuple[int, int, int]:
    """Return (axis, how many positions, how far apart): what channels of one group agree in."""
    axis, start, end = piece
    step = int(positions[start + 1] - positions[start]) if end - start > 1 else 0
    return axis, end - start, step


def _group(
    trace: Trace,
    atoms: Sequence[int],
    held: Mapping[int, list[tuple[int, int, int]]],
    positions: Ids,
) -> Group:
    members = []
    for i, (axis, _, _) in enumerate(held[atoms[0]]):
        rows = [positions[held[atom][i][1] : held[atom][i][2]] for atom in atoms]
        members.append(Member(trace.axes[axis], np.stack(rows)))
    return Group(np.array(atoms, np.int64), tuple(members))


@dataclass(frozen=True)
class Outcome:
    """What the int attributes become when some channels go.

    Attributes:
        values: new values by attribute; those that stay are left out.
        broken: equations that cannot hold then.
        involved: atoms that the broken ones depend on, among those removed.
    """

    values: dict[Attr, int]
    broken: tuple[Equation, ...]
    involved: frozenset[int]


class Solver:
    """Solves the equations between int attributes and numbers of channels kept.

    An attribute gets its value from an equation that names it alone on one side.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._equations = trace.equations
        self._counts = [
            [leaf for side in (e.left, e.right) for leaf in leaves(side) if isinstance(leaf, Count)]
            for e in self._equations
        ]
        self._attrs = [
            {leaf for side in (e.left, e.right) for leaf in leaves(side) if isinstance(leaf, Attr)}
            for e in self._equations
        ]
        self._old = {attr: _now(trace, attr) for attrs in self._attrs for attr in attrs}
        self._atoms = {
            id(c): trace.labels.atoms_of(c.labels) for counts in self._counts for c in counts
        }

    def solve(self, removed: frozenset[int]) -> Outcome:
        """Return what becomes of the attributes when the atoms `removed` go."""
        kept: dict[int, int] = {}
        touched: dict[int, frozenset[int]] = {}
        for count in (c for counts in self._counts for c in counts):
            if id(count) in kept:
                continue
            kept[id(count)] = len(count.labels)
            touched[id(count)] = self._atoms[id(count)] & removed
            if touched[id(count)]:
                kept[id(count)] -= int(self._trace.labels.gone(count.labels, removed).sum())
        values, sources = self._assign(kept)
        whole = {**self._old, **values}
        broken, involved = [], frozenset[int]()
        for number, equation in enumerate(self._equations):
            if _value(equation.left, whole, kept) == _value(equation.right, whole, kept):
                continue
            broken.append(equation)
            behind = {number, *(sources[a] for a in self._attrs[number] if a in sources)}
            for source in behind:
                involved |= frozenset().union(*(touched[id(c)] for c in self._counts[source]))
        changed = {attr: new for attr, new in values.items() if new != self._old[attr]}
        return Outcome(changed, tuple(broken), involved)

    def _assign(self, kept: Mapping[int, int]) -> tuple[dict[Attr, int], dict[Attr, int]]:
        """Return the attributes' values, and the number of the equation that gave each."""
        values: dict[Attr, int] = {}
        sources: dict[Attr, int] = {}
        for again in (False, True):
            for number, equation in enumerate(self._equations):
                for one, other in (
                    (equation.left, equation.right),
                    (equation.right, equation.left),
                ):
                    if not isinstance(one, Attr) or one in values:
                        continue
                    known = {**self._old, **values} if again else values
                    value = _value(other, known, kept)
                    if value is not None:
                        values[one], sources[one] = value, number
        return values, sources


def _value(expr: Expr, values: Mapping[Attr, int], kept: Mapping[int, int]) -> int | None:
    """Return the number, None if it hangs on an attribute that has no value yet."""
    if isinstance(expr, Const):
        return expr.value
    if isinstance(expr, Attr):
        return values.get(expr)
    if isinstance(expr, Count):
        return kept[id(expr)]
    return _combined(expr, values, kept)


def _combined(expr: Both, values: Mapping[Attr, int], kept: Mapping[int, int]) -> int | None:
    a, b = _value(expr.a, values, kept), _value(expr.b, values, kept)
    if a is None or b is None:
        return None
    try:
        return expr.how(a, b)
    except ZeroDivisionError:
        return None


def _now(trace: Trace, attr: Attr) -> int:
    value = getattr(trace.names[attr.module], attr.name)
    return int(value if attr.at is None else value[attr.at])


def settle(trace: Trace) -> list[Group]:
    """Fix groups whose channels cannot go because some number would not follow; return the rest."""
    groups, solver = groups_of(trace), Solver(trace)
    whole = True
    for group in groups:
        outcome = solver.solve(frozenset((int(group.atoms[-1]),)))
        if outcome.broken:
            trace.labels.fix(group.atoms, why_broken(outcome.broken[0]))
            whole = False
    return groups if whole else groups_of(trace)


def why_broken(equation: Equation) -> str:
    """Return an equation that cannot hold, in words."""
    attrs = sorted(
        {str(x) for s in (equation.left, equation.right) for x in leaves(s) if isinstance(x, Attr)}
    )
    named = f" ({', '.join(attrs)})" if attrs else ""
    return f"a number that {equation.where} uses would not follow{named}"


def overlapping(groups: Iterable[Group], trace: Trace) -> dict[int, set[int]]:
    """Return, by number of group, the groups that cut the same positions the other way."""
    numbered = list(groups)
    owner = {int(a): i for i, group in enumerate(numbered) for a in group.atoms}
    found: dict[int, set[int]] = defaultdict(set)
    for axis in trace.axes:
        for label in np.unique(trace.labels.find(axis.labels)):
            owners = {owner[a] for a in trace.labels.atoms(int(label)) if a in owner}
            for one in owners:
                found[one] |= owners - {one}
    return found
