"""The one sort: exact counts, ties to the lowest index, and no joining of layers."""

from __future__ import annotations

import re
import weakref
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from secateur.pruning.select import keep_across, keep_per_row, kept_count

PACKAGE = Path(__file__).parents[2] / "python" / "secateur"
# Few different values make ties the rule; the last ones are the edges of the float order.
VALUES = [0.0, -0.0, 1.0, 2.0, -1.0, -2.0, 1e-45, -1e-45, 3.4e38, -3.4e38, float("inf")]
FLOATS = st.sampled_from(VALUES) | st.floats(-4, 4, width=32)
SPARSITIES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999]) | st.floats(0, 0.999)


def brute_force(scores: list[float], kept: int) -> list[bool]:
    """Sort by score, then by index; Python's -0.0 equals its 0.0."""
    ranked = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    chosen = set(ranked[:kept])
    return [i in chosen for i in range(len(scores))]


@given(
    st.lists(st.lists(FLOATS, max_size=12), min_size=1, max_size=4),
    SPARSITIES,
    st.sampled_from([torch.float32, torch.float64]),
)
def test_across_layers_it_is_the_brute_force_over_all(
    layers: list[list[float]], sparsity: float, dtype: torch.dtype
) -> None:
    tensors = [torch.tensor(layer, dtype=dtype).reshape(1, -1) for layer in layers]
    keep = keep_across([lambda t=t: t for t in tensors], sparsity)
    everything = torch.cat(tensors, 1).flatten().tolist()
    wanted = brute_force(everything, kept_count(len(everything), sparsity))
    assert torch.cat(keep, 1).flatten().tolist() == wanted


@given(st.integers(0, 5), st.integers(1, 9), st.data())
def test_per_row_it_is_the_brute_force_in_each_row(rows: int, n: int, data: st.DataObject) -> None:
    scores = data.draw(
        st.lists(st.lists(FLOATS, min_size=n, max_size=n), min_size=rows, max_size=rows)
    )
    kept = data.draw(st.integers(0, n))
    keep = keep_per_row(torch.tensor(scores).reshape(rows, n), kept)
    assert keep.tolist() == [brute_force(row, kept) for row in scores]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_that_differ_in_the_last_bit_only(dtype: torch.dtype) -> None:
    scores = torch.ones(1, 1000, dtype=dtype)
    scores[0, 700:] = torch.nextafter(scores[0, 0], torch.tensor(2.0, dtype=dtype))
    (keep,) = keep_across([lambda: scores], 0.7)
    assert torch.equal(keep[0], torch.arange(1000) >= 700)


def test_the_two_zeros_are_one() -> None:
    (keep,) = keep_across([lambda: torch.tensor([[-0.0, 0.0, -0.0]])], 0.7)
    assert keep.tolist() == [[True, False, False]]
    assert keep_per_row(torch.tensor([[-0.0, 0.0, -0.0]]), 1).tolist() == [[True, False, False]]


def test_the_count_is_exact_for_a_constant_layer() -> None:
    """`score > threshold` keeps none of these, `>=` keeps all."""
    (keep,) = keep_across([lambda: torch.zeros(30, 7)], 0.5)
    assert torch.equal(keep.flatten(), torch.arange(210) < 105)


@pytest.mark.parametrize(
    ("n", "sparsity", "kept"), [(10, 0.0, 10), (5, 0.5, 3), (7, 0.5, 3), (3, 0.5, 1), (1, 0.9, 0)]
)
def test_half_a_weight_rounds_to_even(n: int, sparsity: float, kept: int) -> None:
    assert kept_count(n, sparsity) == kept


def test_one_layer_is_held_at_a_time() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def layer(seed: int) -> Tensor:
        assert not any(scores() is not None for scores in alive), "two layers' scores at once"
        scores = torch.rand(40, 50, generator=torch.Generator().manual_seed(seed))
        alive.append(weakref.ref(scores))
        return scores

    layers = [lambda seed=seed: layer(seed) for seed in range(5)]
    keep = keep_across(layers, 0.8)
    assert sum(int(k.sum()) for k in keep) == 2000
    assert len(alive) == 5 * 3, "two passes to find the threshold, one to mark"


def test_nothing_else_in_these_rooms_sorts() -> None:
    sorting = re.compile(r"\b(topk|argsort|kthvalue|msort|torch\.sort|\.sort\(|quantile)")
    files = [p for room in ("pruning", "training") for p in (PACKAGE / room).rglob("*.py")]
    found = {p.name for p in files if sorting.search(p.read_text())}
    assert found == {"select.py"}
