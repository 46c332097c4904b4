"""Which positions of which dimensions go together: a union-find whose members may be products.

Every position along every dimension of every tensor carries a label. A label is a set of atoms: the
position goes when any of its atoms goes. The empty set, label 0, never goes. A plain channel is one
atom; position (head, feature) of a flattened dimension is two. Nothing here knows a model or an op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ids: TypeAlias = NDArray[np.int64]
"""Labels of the positions along one dimension."""

FIXED = 0
"""The label of what never goes."""


class Labels:
    """Labels, which of them are the same, and which can never go, with the reason.

    What is asked of it is always granted in a sound way: where two labels cannot be made equal
    otherwise, their atoms are fixed.
    """

    def __init__(self) -> None:
        self._parent = np.zeros(1, np.int64)
        self._why = np.zeros(1, np.int64)  # number of the reason; negative while free
        self._compound = np.zeros(1, np.bool_)
        self._parts: dict[int, frozenset[int]] = {}
        self._interned: dict[frozenset[int], int] = {}
        self._reasons = ["made while the model runs, or an input of it"]
        self._changes = 0
        self._clean: dict[int, int] = {}
        self._used = 1

    def new(self, n: int) -> Ids:
        """Return `n` labels of one fresh atom each."""
        first, last = self._used, self._used + n
        while last > len(self._parent):
            grow = max(1024, len(self._parent))
            more = np.arange(len(self._parent), len(self._parent) + grow)
            self._parent = np.concatenate((self._parent, more))
            self._why = np.concatenate((self._why, np.full(grow, -1)))
            self._compound = np.concatenate((self._compound, np.zeros(grow, np.bool_)))
        self._used = last
        return np.arange(first, last, dtype=np.int64)

    def find(self, labels: Ids) -> Ids:
        """Return the labels in canonical form: equal ones are the same number, fixed ones 0."""
        roots = self._roots(labels)
        roots = np.where(self._why[roots] >= 0, FIXED, roots)
        if self._parts and self._compound[roots].any():
            unique, inverse = np.unique(roots, return_inverse=True)
            for i in np.flatnonzero(self._compound[unique]):
                unique[i] = self._simplify(int(unique[i]))
            roots = unique[inverse]
        return roots

    def atoms(self, label: int) -> frozenset[int]:
        """Return the atoms of one label in canonical form."""
        if label == FIXED:
            return frozenset()
        return self._parts.get(label, frozenset((label,)))

    def mixed(self, labels: Ids) -> NDArray[np.bool_]:
        """Return which labels, in canonical form, have more than one atom."""
        return self._compound[labels]

    def atoms_of(self, labels: Ids) -> frozenset[int]:
        """Return all atoms among `labels`."""
        unique = np.unique(self.find(labels))
        mixed = self._compound[unique]
        plain = frozenset(unique[~mixed & (unique != FIXED)].tolist())
        return plain.union(*(self._parts[label] for label in unique[mixed].tolist()))

    def gone(self, labels: Ids, removed: frozenset[int]) -> NDArray[np.bool_]:
        """Return which positions go when the atoms `removed` go."""
        unique, inverse = np.unique(self.find(labels), return_inverse=True)
        hit = np.isin(unique, np.fromiter(removed, np.int64, len(removed)))
        for i in np.flatnonzero(self._compound[unique]):
            hit[i] = not self._parts[int(unique[i])].isdisjoint(removed)
        return hit[inverse]

    def reasons(self, labels: Ids) -> dict[str, int]:
        """Return why those of `labels` that never go do not, and how many for each reason."""
        fixed = self._roots(labels[self.find(labels) == FIXED])
        found: dict[str, int] = {}
        for root, count in zip(*np.unique(fixed, return_counts=True), strict=True):
            why = self._reason(int(root))
            found[why] = found.get(why, 0) + int(count)
        return found

    def _reason(self, root: int) -> str:
        if self._why[root] >= 0 or not self._compound[root]:
            return self._reasons[max(int(self._why[root]), 0)]
        return self._reason(int(self._roots(np.array([min(self._parts[root])]))[0]))

    def fix(self, labels: Ids, why: str) -> None:
        """Say that these never go."""
        free = sorted(self.atoms_of(labels))
        if free:
            self._fix(np.array(free), self._number(why))

    def equate(self, a: Ids, b: Ids) -> None:
        """Make the labels at equal positions equal.

        Args:
            a: one label for each position.
            b: the same number.
        """
        left, right = self.find(a), self.find(b)
        differ = left != right
        if not differ.any():
            return
        a, b, left, right = a[differ], b[differ], left[differ], right[differ]
        self._spread(a[left == FIXED], right[left == FIXED])
        self._spread(b[right == FIXED], left[right == FIXED])
        free = (left != FIXED) & (right != FIXED)
        left, right = left[free], right[free]
        left, right = np.unique(np.stack((left, right)), axis=1)
        for one, other in ((left, right), (right, left)):
            if self._compound[one].any() or len(np.unique(one)) < len(one):
                continue
            if self.atoms_of(other).isdisjoint(one.tolist()):
                self._parent[one] = other
                self._changes += 1
                return
        for first, second in zip(left.tolist(), right.tolist(), strict=True):
            self._equate_one(first, second)

    def product(self, parts: Sequence[Ids]) -> Ids:
        """Return the labels of dimensions made one: a position goes if any of its parts does."""
        flat = parts[0] if parts else np.zeros(1, np.int64)
        for inner in parts[1:]:
            flat, inner = self.find(flat), self.find(inner)
            outer = np.repeat(flat, len(inner))
            within = np.tile(inner, len(flat))
            both = (outer != FIXED) & (within != FIXED)
            joined = np.where(outer == FIXED, within, outer)
            for i in np.flatnonzero(both):
                joined[i] = self._intern(self.atoms(int(outer[i])) | self.atoms(int(within[i])))
            flat = joined
        return flat

    def factors(self, flat: Ids, sizes: Sequence[int]) -> list[Ids]:
        """Return the labels of the dimensions that one is cut into, the last running fastest.

        Positions that were free one by one are free only as whole slices afterwards.
        """
        found = []
        for i, size in enumerate(sizes[:-1]):
            rest = int(np.prod(sizes[i + 1 :], dtype=np.int64))
            outer, flat = self._two_factors(flat, size, rest)
            found.append(outer)
        return [*found, flat]

    def _two_factors(self, flat: Ids, p: int, q: int) -> tuple[Ids, Ids]:
        square = self.find(flat).reshape(p, q)
        if q == 1:
            return square[:, 0], np.zeros(1, np.int64)
        if p == 1:
            return np.zeros(1, np.int64), square[0]
        if (square == square[:, :1]).all():
            return square[:, 0], np.zeros(q, np.int64)
        if (square == square[:1]).all():
            return np.zeros(p, np.int64), square[0]
        known = self._known_factors(square)
        if known is not None:
            return known
        outer, inner = self.new(p), self.new(q)
        self.equate(self.product([outer, inner]), flat)
        return self.find(outer), self.find(inner)

    def _known_factors(self, square: Ids) -> tuple[Ids, Ids] | None:
        """Return (outer, inner) if every label is already the union of its row's and column's."""
        if not self._compound[square].any():
            return None
        sets = [[self.atoms(int(label)) for label in row] for row in square]
        outer = [frozenset.intersection(*row) for row in sets]
        inner = [frozenset.intersection(*column) for column in zip(*sets, strict=True)]
        for row, a in zip(sets, outer, strict=True):
            if any(a | b != cell for b, cell in zip(inner, row, strict=True)):
                return None
        both = [np.array([self._intern(s) for s in side], np.int64) for side in (outer, inner)]
        return both[0], both[1]

    def _equate_one(self, one: int, other: int) -> None:
        one, other = (int(x) for x in self.find(np.array([one, other])))
        a, b = self.atoms(one), self.atoms(other)
        if a == b:
            return
        left, right = a - b, b - a
        if len(a) == 1 and len(left) == 1:
            self._join(one, other)
        elif len(b) == 1 and len(right) == 1:
            self._join(other, one)
        elif len(left) == 1 and len(right) == 1:
            self._join(min(left), min(right))
        else:
            why = "a reshape cuts these channels in two ways that have no slice in common"
            self._fix(np.array(sorted(left | right)), self._number(why))

    def _join(self, atom: int, label: int) -> None:
        self._parent[atom] = label
        self._changes += 1

    def _spread(self, sources: Ids, labels: Ids) -> None:
        """Fix each of `labels` for the reason that its source is fixed."""
        whys = self._why[self._roots(sources)]
        for why in np.unique(whys):
            atoms = sorted(self.atoms_of(labels[whys == why]))
            if atoms:
                self._fix(np.array(atoms), max(int(why), 0))

    def _fix(self, atoms: Ids, why: int) -> None:
        self._why[atoms] = why
        self._changes += 1

    def _number(self, why: str) -> int:
        if why not in self._reasons:
            self._reasons.append(why)
        return self._reasons.index(why)

    def _roots(self, labels: Ids) -> Ids:
        roots = self._parent[labels]
        while True:
            up = self._parent[roots]
            if (up == roots).all():
                return roots
            roots = up

    def _simplify(self, node: int) -> int:
        """Return the canonical form of a compound label whose parts may have changed."""
        if self._clean.get(node) == self._changes:
            return node
        parts = self.find(np.array(sorted(self._parts[node])))
        canonical = self._intern(frozenset().union(*(self.atoms(int(p)) for p in parts)))
        if canonical == FIXED:
            return FIXED  # its reason is that of its parts
        if canonical != node:
            self._parent[node] = canonical
        self._clean[canonical] = self._changes
        return canonical

    def _intern(self, atoms: frozenset[int]) -> int:
        if len(atoms) <= 1:
            return min(atoms, default=FIXED)
        if atoms not in self._interned:
            node = int(self.new(1)[0])
            self._compound[node] = True
            self._parts[node] = atoms
            self._interned[atoms] = node
        return self._interned[atoms]
