"""Labels against brute force: a set of atoms, and every way to remove some of them."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.pruning.structure.labels import Labels

sizes = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@given(sizes)
def test_a_dimension_cut_and_joined_again_is_the_same(shape: list[int]) -> None:
    labels = Labels()
    flat = labels.new(int(np.prod(shape)))
    parts = labels.factors(flat, shape)
    assert [len(part) for part in parts] == shape
    assert (labels.find(labels.product(parts)) == labels.find(flat)).all()
    # Cut the same way once more, it gives the same parts.
    for one, other in zip(parts, labels.factors(flat, shape), strict=True):
        assert (labels.find(one) == labels.find(other)).all()


@given(sizes, st.data())
def test_a_position_goes_exactly_if_one_of_its_slices_does(
    shape: list[int], data: st.DataObject
) -> None:
    labels = Labels()
    flat = labels.new(int(np.prod(shape)))
    parts = labels.factors(flat, shape)
    free = sorted(labels.atoms_of(np.concatenate(parts)))
    removed = frozenset(data.draw(st.sets(st.sampled_from(free)))) if free else frozenset()
    along = [labels.gone(part, removed) for part in parts]
    wanted = [any(gone[i] for gone, i in zip(along, at, strict=True)) for at in _places(shape)]
    assert labels.gone(flat, removed).tolist() == wanted


def _places(shape: list[int]) -> list[tuple[int, ...]]:
    return list(product(*map(range, shape)))


steps = st.lists(
    st.tuples(st.sampled_from(["equate", "fix", "cut"]), *[st.integers(0, 11)] * 2), max_size=8
)


@settings(max_examples=80)
@given(steps)
def test_whatever_is_asked_holds_afterwards(asked: list[tuple[str, int, int]]) -> None:
    """Two dimensions of 12 positions; at the end all that was said is true of every removal."""
    labels = Labels()
    a, b = labels.new(12), labels.new(12)
    equal, fixed, cuts = [], [], []
    for what, i, j in asked:
        if what == "equate":
            labels.equate(a[i : i + 1], b[j : j + 1])
            equal.append((i, j))
        elif what == "fix":
            labels.fix(a[i : i + 1], "said so")
            fixed.append(i)
        else:
            shape = [(2, 6), (3, 4), (4, 3), (6, 2)][i % 4]
            side = (a, b)[j % 2]
            cuts.append((side, shape, labels.factors(side, shape)))
    atoms = sorted(labels.atoms_of(np.concatenate((a, b))))
    for removed in [frozenset({atom}) for atom in atoms] + [frozenset(atoms)]:
        gone = labels.gone(a, removed), labels.gone(b, removed)
        assert all(gone[0][i] == gone[1][j] for i, j in equal)
        assert not any(gone[0][i] for i in fixed)
        for side, shape, parts in cuts:
            rows, columns = (labels.gone(part, removed) for part in parts)
            grid = labels.gone(side, removed).reshape(shape)
            assert (grid == (rows[:, None] | columns[None])).all()
    for i in fixed:
        assert labels.reasons(a[i : i + 1])


def test_reasons_spread_to_what_is_tied() -> None:
    labels = Labels()
    a, b = labels.new(3), labels.new(3)
    labels.fix(a[:2], "an output")
    labels.equate(a, b)
    assert labels.reasons(b) == {"an output": 2}
    assert labels.find(b).tolist()[:2] == [0, 0]
