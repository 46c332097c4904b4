"""Regrouping columns for N:M, as its definition has it. Kernels are held to it elsewhere."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from secateur import ops
from secateur.ops.nm_regroup import LARGEST_SCORE, assign
from tests.support.data import generator


def scores(columns: int, rows: int, seed: int = 0, largest: int = LARGEST_SCORE) -> Tensor:
    gen = generator(seed)
    return torch.randint(largest + 1, (columns, rows), generator=gen, dtype=torch.int32)


def kept(columns: Tensor, order: Tensor, n: int, m: int) -> Tensor:
    """What each group keeps, by sorting it."""
    groups = columns[order].view(-1, m, columns.shape[1]).long()
    return groups.sort(1).values[:, m - n :].sum((1, 2))


@pytest.mark.parametrize("largest", [1, 3, 2**40])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_assignment_is_the_best_of_all(n: int, largest: int) -> None:
    for seed in range(20):
        value = np.random.default_rng(seed).integers(0, largest + 1, (n, n))
        rows = np.arange(n)
        best = max(value[rows, p].sum() for p in itertools.permutations(range(n)))
        found = assign(value)
        assert sorted(found) == list(range(n))
        assert value[rows, found].sum() == best


def test_a_larger_assignment_is_scipys() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    value = np.random.default_rng(0).integers(0, 2**45, (60, 60))
    rows, columns = optimize.linear_sum_assignment(value, maximize=True)
    assert value[np.arange(60), assign(value)].sum() == value[rows, columns].sum()


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (1, 4), (3, 4), (2, 5)])
def test_a_round_is_the_best_of_all_ways_to_hand_out(n: int, m: int) -> None:
    groups = 4
    columns = scores(groups * m, 16, n * m, largest=6)  # few scores: ties everywhere
    order = torch.randperm(groups * m, generator=generator(1))
    pick = torch.randint(m, (1, groups), generator=generator(2))
    places = torch.arange(groups) * m + pick[0]
    best = 0
    for way in itertools.permutations(range(groups)):
        tried = order.clone()
        tried[places] = order[places[list(way)]]
        best = max(best, int(kept(columns, tried, n, m).sum()))
    after, sums = ops.nm_regroup(columns, order, pick, n=n, patience=1)
    assert torch.equal(sums, kept(columns, after, n, m))
    assert int(sums.sum()) == best
    stay = torch.ones(groups * m, dtype=torch.bool).index_fill(0, places, False)
    assert torch.equal(after[stay], order[stay])


def test_no_round_loses_and_columns_stay_whole() -> None:
    columns, gen = scores(40, 32), generator(3)
    order = torch.arange(40)
    last = int(kept(columns, order, 2, 4).sum())
    for _ in range(30):
        order, sums = ops.nm_regroup(
            columns, order, torch.randint(4, (1, 10), generator=gen), n=2, patience=1
        )
        assert torch.equal(order.sort().values, torch.arange(40))
        assert int(sums.sum()) >= last
        last = int(sums.sum())


def test_without_rounds_it_adds_up_and_may_look_at_some_columns_only() -> None:
    columns, some = scores(40, 32), torch.tensor([7, 1, 30, 12, 39, 0, 5, 6])
    after, sums = ops.nm_regroup(columns, some, torch.zeros(0, 2).long(), n=2, patience=9)
    assert torch.equal(after, some)
    assert torch.equal(sums, kept(columns, some, 2, 4))


def test_patience_ends_it() -> None:
    columns, picks = torch.zeros(8, 16, dtype=torch.int32), torch.zeros(5, 2).long()
    columns[0] = columns[4] = 3  # the better of two: 0 and 4 belong apart, and are
    after, _ = ops.nm_regroup(columns, torch.arange(8), picks, n=1, patience=1)
    assert torch.equal(after, torch.arange(8))
    columns[4], columns[1] = 0, 3
    picks[1:] = 1  # the first round moves column 0 against 4 and gains nothing more after
    none, _ = ops.nm_regroup(columns, torch.arange(8), picks * 0 + 2, n=1, patience=1)
    assert torch.equal(none, torch.arange(8))  # zeros against zeros
    moved, sums = ops.nm_regroup(columns, torch.arange(8), picks, n=1, patience=2)
    assert int(sums.sum()) == 2 * 3 * 16
    assert not torch.equal(moved, torch.arange(8))


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"columns": torch.zeros(8, 16)}, TypeError, "columns must be torch.int32"),
        ({"order": torch.zeros(8)}, TypeError, "order must be torch.int64"),
        ({"columns": torch.zeros(8, 15, dtype=torch.int32)}, ValueError, "multiple of 16 rows"),
        ({"picks": torch.zeros(1, 3).long()}, ValueError, "cannot share 8 positions"),
        ({"n": 4}, ValueError, "1 <= n < m <= 16, got n=4 and m=4"),
        ({"order": torch.zeros(8, 1).long()}, ValueError, "order \\[positions\\]"),
    ],
)
def test_errors_name_the_argument(changes: dict[str, Any], error: type, says: str) -> None:
    call: dict[str, Any] = {
        "columns": torch.zeros(8, 16, dtype=torch.int32),
        "order": torch.arange(8),
        "picks": torch.zeros(1, 2).long(),
        "n": 2,
        "patience": 1,
    }
    with pytest.raises(error, match=says):
        ops.nm_regroup(**(call | changes))


@pytest.mark.parametrize(("at", "value"), [(0, -1), (0, 2**20), (1, 8), (1, -1), (2, 4), (2, -1)])
def test_the_reference_refuses_values_out_of_range(at: int, value: int) -> None:
    bad = [scores(8, 16), torch.arange(8), torch.zeros(1, 2).long()]
    bad[at].view(-1)[-1] = value
    with pytest.raises(ValueError, match="must lie in 0 to"):
        torch.ops.secateur.nm_regroup_reference(*bad, 2, 1)


def test_torch_can_trace_it() -> None:
    op: Any = torch.ops.secateur.nm_regroup.default
    picks = torch.zeros(2, 2).long()
    torch.library.opcheck(op, (scores(8, 16), torch.arange(8), picks, 2, 1))
