"""The one sort: exact counts, ties to the lowest index, and no joining of layers."""

from __future__ import annotations

import ctypes
import re
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from secateur import _extension
from secateur.pruning.groups import keep_in_groups
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


@pytest.mark.parametrize(("values", "calls"), [(1 << 24, 10), (2, 23)], ids=["many", "two"])
def test_one_layer_is_held_at_a_time(values: int, calls: int) -> None:
    """Two passes are enough; with too many ties three more, when the second is given up midway."""
    alive: list[weakref.ref[torch.UntypedStorage]] = []

    def layer(seed: int) -> Tensor:
        assert not any(held() is not None for held in alive), "two layers' scores at once"
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randint(values, (400, 500), generator=generator).float()
        alive.append(weakref.ref(scores.untyped_storage()))
        return scores

    layers = [lambda seed=seed: layer(seed) for seed in range(5)]
    keep = keep_across(layers, 0.8)
    assert sum(int(k.sum()) for k in keep) == 200_000
    assert len(alive) == calls


@pytest.mark.parametrize(
    "scores",
    [
        torch.randn(3, 70_001),
        torch.randint(-2, 3, (3, 70_001)).float(),
        torch.randn(3, 70_001).bfloat16().float(),
        torch.randn(3, 70_001).exp().double(),
        torch.arange(210_003.0).reshape(3, -1),
        torch.arange(210_003.0).flip(0).reshape(3, -1),
        torch.where(torch.arange(210_003) % 509 == 0, 9.0, torch.rand(210_003)).reshape(3, -1),
    ],
    ids=["normal", "five values", "bf16", "float64", "rising", "falling", "a sample that misleads"],
)
@pytest.mark.parametrize("sparsity", [0.001, 0.3, 0.5, 0.9, 0.999])
def test_pieces_and_brackets_change_nothing(scores: Tensor, sparsity: float) -> None:
    """Some of these are above one piece in size, and some make the bracket miss or overflow."""
    order = torch.sort(scores.flatten(), descending=True, stable=True).indices
    wanted = torch.zeros(scores.numel(), dtype=torch.bool)
    wanted[order[: kept_count(scores.numel(), sparsity)]] = True
    (together,) = keep_across([lambda: scores], sparsity)
    assert torch.equal(together.flatten(), wanted)
    apart = keep_across([lambda row=row: row for row in scores], sparsity)
    assert torch.equal(torch.cat(apart), wanted)


def test_scores_that_are_never_whole() -> None:
    class InPieces:
        shape = (100, 30)

        def __call__(self) -> Tensor:
            return scores

        def pieces(self) -> Iterator[Tensor]:
            yield from scores.split(7)

    scores = torch.rand(100, 30)
    assert torch.equal(keep_across([InPieces()], 0.6)[0], keep_across([lambda: scores], 0.6)[0])


@pytest.fixture(params=["compiled", "torch"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(_extension, "function", lambda *_: None)
    elif _extension.function("secateur_keep_in_groups", ctypes.c_int) is None:
        pytest.skip("no extension here that has secateur_keep_in_groups: build it again")
    return str(request.param)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 7, 8, 16, 31, 32, 40])
def test_in_groups_it_is_per_row(m: int, kernel: str) -> None:
    """Also over many pieces, and with infinite scores."""
    scores = torch.randint(-3, 3, (140_000 // m, m)).float()
    scores[torch.rand(scores.shape) < 0.1] = float("inf")
    scores[torch.rand(scores.shape) < 0.1] = -float("inf")
    for n in {0, 1, m // 2, m - 1, m}:
        order = torch.sort(scores, dim=1, descending=True, stable=True).indices
        wanted = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order[:, :n], True)
        assert torch.equal(keep_in_groups(scores, n), wanted)
        assert torch.equal(keep_per_row(scores, n), wanted)
        for few in range(8):
            assert torch.equal(keep_in_groups(scores[:few], n), wanted[:few])


def test_groups_of_what_is_not_contiguous(kernel: str) -> None:
    scores = torch.rand(4, 300)
    assert torch.equal(keep_in_groups(scores.T, 2), keep_per_row(scores.T, 2))
    wide = torch.rand(300, 4, dtype=torch.float64)
    assert torch.equal(keep_in_groups(wide, 1), keep_per_row(wide, 1))


def test_nothing_else_in_these_rooms_sorts() -> None:
    sorting = re.compile(r"\b(topk|argsort|kthvalue|msort|quantile)\(|\bsort\(")
    files = [p for room in ("pruning", "training") for p in (PACKAGE / room).rglob("*.py")]
    found = {p.name for p in files if sorting.search(p.read_text())}
    assert found == {"select.py"}
