"""N:M against every possibility, and the words around it."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.sparse import _semi_structured_conversions as torch_24

from secateur.pruning.patterns import find_pattern
from secateur.pruning.patterns.nm import NM
from secateur.pruning.shape import Shape


def mask_of(pattern: NM, scores: Tensor) -> Tensor:
    shape = Shape(*scores.shape)
    return pattern.to_mask(pattern.choose(pattern.to_units(scores, shape)), shape)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (3, 4), (4, 8), (3, 5), (4, 4)])
def test_no_choice_of_n_out_of_m_keeps_more(n: int, m: int) -> None:
    scores = torch.randint(0, 5, (6, 4 * m)).float()
    kept = (scores * mask_of(NM(n, m), scores)).reshape(-1, m).sum(1)
    groups = scores.reshape(-1, m)
    best = torch.stack([groups[:, c].sum(1) for c in combinations(range(m), n)]).amax(0)
    assert torch.equal(kept, best)


def test_ties_keep_the_lowest_index() -> None:
    assert mask_of(NM(2, 4), torch.ones(1, 4)).tolist() == [[True, True, False, False]]
    scores = torch.tensor([[1.0, 2.0, 1.0, 1.0]])
    assert mask_of(NM(2, 4), scores).tolist() == [[True, True, False, False]]


def test_torch_reads_the_mask_as_its_own_2_of_4() -> None:
    weight = torch.randn(64, 128).half()
    weight *= mask_of(NM(2, 4), weight.float().abs())
    values, meta = torch_24.sparse_semi_structured_from_dense_cutlass(weight)
    assert values.shape == (64, 64)
    assert torch.equal(torch_24.sparse_semi_structured_to_dense_cutlass(values, meta), weight)


def test_n_is_kept_not_removed() -> None:
    """Half the field says N removed; 2:4 cannot tell the two apart, 1:4 can."""
    assert int(mask_of(NM(1, 4), torch.rand(8, 16)).sum()) == 8 * 16 // 4
    assert find_pattern("1:4").sparsity == 0.75


def test_it_is_no_pattern_of_the_transpose() -> None:
    scores = torch.zeros(4, 4)
    scores[:, :2] = 1.0
    mask = mask_of(NM(2, 4), scores)
    assert NM(2, 4).broken_by(mask, Shape(4, 4)) is None
    assert NM(2, 4).broken_by(mask.T, Shape(4, 4)) is not None


def test_a_broken_group_is_named() -> None:
    mask = torch.zeros(3, 8, dtype=torch.bool)
    mask[1, 4:7] = True
    assert NM(2, 4).broken_by(mask, Shape(3, 8)) == (
        "row 1, columns 4 to 7 keep 3, where 2:4 allows 2 kept of 4 (1 of 6 groups are like that)"
    )
    assert "divisible by 4, not 6" in NM(2, 4).broken_by(mask[:, :6], Shape(3, 6))


def test_the_way_to_2_4_is_the_nearest_kept_count() -> None:
    on_the_way = {s: NM(2, 4).towards(s).name for s in (0.0, 0.12, 0.13, 0.37, 0.38, 0.5)}
    assert on_the_way == {
        0.0: "4:4", 0.12: "4:4", 0.13: "3:4", 0.37: "3:4", 0.38: "2:4", 0.5: "2:4",
    }  # fmt: skip
    for n, m in [(1, 3), (2, 3), (3, 7), (1, 16)]:
        assert NM(n, m).towards(1 - n / m) == NM(n, m) == NM(n, m).towards((m - n) / m)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("4:2", "N kept of M, 1 <= N <= M, not '4:2'; did you mean \"2:4\""),
        ("0:4", "1 <= N <= M"),
        ("2/4", "unknown pattern '2/4'; known: N:M, .*block:RxC, .*unstructured"),
        ("", "unknown pattern"),
    ],
)
def test_what_is_no_pattern_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        find_pattern(text)


def test_a_pattern_is_a_string() -> None:
    with pytest.raises(TypeError, match='such as "2:4", not tuple'):
        find_pattern((2, 4))
