"""N:M in rows and columns, against brute force and scipy's assignment."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from torch import Tensor, nn

from secateur.pruning import prune, verify
from secateur.pruning.patterns import find_pattern
from secateur.pruning.patterns._tiles import _greedy, best_tiles
from secateur.pruning.shape import Shape

SIZES = [(2, 4), (1, 4), (3, 4), (1, 2), (3, 3), (2, 5), (4, 8), (1, 8), (7, 8), (3, 7), (8, 16)]


def assert_full(mask: Tensor, n: int) -> None:
    assert bool((mask.sum(1) == n).all())
    assert bool((mask.sum(2) == n).all())


def greedily(tiles: Tensor, n: int) -> Tensor:
    return _greedy(tiles.permute(1, 2, 0), n).permute(2, 0, 1)


def best_sum(tile: Tensor, n: int) -> float:
    """The optimum by linear programming: the constraints' matrix is totally unimodular."""
    m = len(tile)
    rows = np.kron(np.eye(m), np.ones(m))
    columns = np.kron(np.ones(m), np.eye(m))
    done = linprog(
        -tile.double().flatten().numpy(),
        A_eq=np.vstack([rows, columns]),
        b_eq=np.full(2 * m, n),
        bounds=(0, 1),
    )
    assert done.success
    return round(-done.fun)


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_no_choice_keeps_more(n: int, m: int) -> None:
    tiles = torch.randint(0, 100, (12, m, m)).float()
    mask = best_tiles(tiles, n)
    assert_full(mask, n)
    assert (tiles * mask).sum((1, 2)).tolist() == [best_sum(tile, n) for tile in tiles]


def test_2_of_4_is_the_best_of_all_90() -> None:
    rows = [[i in kept for i in range(4)] for kept in itertools.combinations(range(4), 2)]
    every = torch.tensor(list(itertools.product(rows, repeat=4)))
    every = every[(every.sum(1) == 2).all(1)]
    assert len(every) == 90
    tiles = torch.randint(-20, 20, (50, 4, 4)).float()
    best = (tiles[:, None] * every).sum((2, 3)).amax(1)
    assert torch.equal((tiles * best_tiles(tiles, 2)).sum((1, 2)), best)


def test_1_of_m_is_an_assignment() -> None:
    tiles = torch.randint(0, 1000, (20, 9, 9)).double()
    mask = best_tiles(tiles, 1)
    assert_full(mask, 1)
    for tile, kept in zip(tiles, mask, strict=True):
        at = linear_sum_assignment(tile.numpy(), maximize=True)
        assert int(tile[kept].sum()) == int(tile.numpy()[at].sum())


@pytest.mark.parametrize(("n", "m"), [(4, 8), (2, 8), (8, 16)])
def test_it_beats_greedy_and_greedy_is_full(n: int, m: int) -> None:
    tiles = torch.rand(64, m, m).double()
    greedy, best = greedily(tiles, n), best_tiles(tiles, n)
    assert_full(greedy, n)
    ours, theirs = (tiles * best).sum((1, 2)), (tiles * greedy).sum((1, 2))
    # Sums of n * m numbers below 1, each rounded at most n * m times.
    assert bool((ours >= theirs - (n * m) ** 2 * torch.finfo(torch.float64).eps).all())
    assert int((ours > theirs + 0.01).sum()) > 32


def test_greedy_alone_would_leave_gaps() -> None:
    """The three highest fill two rows and two columns; the last entry left is out of reach."""
    tile = torch.tensor([[[9.0, 8, 0], [7, 9, 0], [0, 0, 9.0]]])
    assert_full(greedily(tile, 2), 2)
    assert_full(best_tiles(tile, 2), 2)


def test_ties_are_broken_the_same_way_in_any_company() -> None:
    assert best_tiles(torch.ones(1, 4, 4), 2)[0].tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [False, False, True, True],
        [False, False, True, True],
    ]
    tiles = torch.randint(0, 3, (3000, 8, 8)).float()
    alone = torch.cat([best_tiles(tile[None], 4) for tile in tiles[:40]])
    assert torch.equal(best_tiles(tiles, 4)[:40], alone)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8)])
def test_what_is_removed_stays_removed_and_infinite_weights_stay(n: int, m: int) -> None:
    tiles = torch.randint(0, 9, (30, m, m)).float()
    milder = best_tiles(tiles, n + 1)
    mask = best_tiles(tiles.masked_fill(~milder, -math.inf), n)
    assert_full(mask, n)
    assert not bool((mask & ~milder).any())
    tiles[:, 1, 2] = math.inf
    assert bool(best_tiles(tiles, n)[:, 1, 2].all())


def test_the_mask_is_n_of_m_both_ways() -> None:
    model = nn.Sequential(nn.Linear(32, 24), nn.Conv2d(8, 16, 3))
    masks = prune(model, pattern="2:4T")
    verify(model, masks, pattern="2:4T").require()
    mask = masks["0.weight"]
    two_four, shape = find_pattern("2:4"), Shape(24, 32)
    assert two_four.broken_by(mask, shape) is None
    assert two_four.broken_by(mask.T, Shape(32, 24)) is None
    conv = masks["1.weight"].permute(2, 3, 0, 1)  # Of every tap, [out, in].
    assert all(two_four.broken_by(tap, Shape(16, 8)) is None for tap in conv.flatten(0, 1))
    assert all(two_four.broken_by(tap.T, Shape(8, 16)) is None for tap in conv.flatten(0, 1))


def test_a_broken_tile_is_named() -> None:
    pattern, shape = find_pattern("2:4T"), Shape(8, 8)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[4:7, 1] = True
    assert pattern.broken_by(mask, shape) == (
        "in the 4 x 4 tile at row 4, column 0 a column keeps 3, where 2:4T allows 2 of 4 "
        "(1 of 4 tiles are like that)"
    )
    assert "a row keeps 3" in pattern.broken_by(mask.T, shape)


@pytest.mark.parametrize(
    ("text", "says"), [("4:2T", 'did you mean "2:4T"'), ("0:4T", "1 <= N <= M")]
)
def test_what_is_no_pattern_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        find_pattern(text)


def test_an_odd_axis_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match=r"divisible by 4, not 10 and 16 \('weight'\).*ignore="):
        prune(nn.Linear(16, 10), pattern="2:4T")


def test_tiny_scores_beside_removed_ones_leave_the_mask_whole() -> None:
    """Gains below the rounding of what stands for -inf add up to a cycle through a row twice."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(400, 8, 8, generator=generator) * 10.0 ** torch.randint(
        -22, -8, (400, 8, 8), generator=generator
    )
    scores.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    for n in (4, 5, 6):
        keep = best_tiles(scores, n)
        assert bool((keep.sum(1) == n).all())
        assert bool((keep.sum(2) == n).all())
        assert not bool((keep & scores.isinf()).any())
