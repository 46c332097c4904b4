"""What other pruning libraries got wrong about masks, each as a test that ours gets it right.

Three more are tested where their subject is: cubic is fast first (test_schedules.py), N is kept
and not removed (test_patterns.py), and a mask has no second copy (test_prune.py).
"""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur.pruning import prune, verify
from tests.pruning.models import mlp


@pytest.mark.parametrize("pattern", ["block:4x4", "block:8x1", "block:1x8"])
@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.75])
def test_blocks_have_a_score_each(pattern: str, sparsity: float) -> None:
    """A block mask that pools the whole weight into one number fails below sparsity 1."""
    masks = prune(nn.Linear(32, 32), sparsity, pattern=pattern)
    assert masks.sparsity == sparsity


@pytest.mark.parametrize("pattern", ["channels", "in_channels", "kernels"])
@pytest.mark.parametrize(
    "layer", [nn.Linear(8, 8), nn.Conv1d(8, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv3d(8, 8, 3)]
)
def test_channels_are_not_only_of_four_dimensional_weights(layer: nn.Module, pattern: str) -> None:
    masks = prune(layer, 0.5, pattern=pattern, targets=type(layer))
    assert masks.sparsity == 0.5
    verify(layer, masks, pattern=pattern).require()


@pytest.mark.parametrize("scope", ["layer", "row", "global"])
@pytest.mark.parametrize("value", [0.0, 0.5, -1.0])
def test_equal_weights_are_not_all_removed_nor_one_too_many(scope: str, value: float) -> None:
    """Comparing with a threshold removes every tie of it; `<=` one more than was asked."""
    layer = nn.Linear(10, 8)
    layer.weight.data.fill_(value)
    mask = prune(layer, 0.3, scope=scope)["weight"]
    assert int((~mask).sum()) == 24
    if scope == "row":
        assert torch.equal(mask, (torch.arange(10) < 7).expand(8, 10))


def test_models_pruned_after_one_another_share_nothing() -> None:
    """Masks kept in a dictionary of the class leak from one model to the next."""
    first, second = mlp(8, 8), mlp(8, 16)
    masks = prune(first, 0.5)
    before = {name: mask.clone() for name, mask in masks.items()}
    prune(second, 0.9)
    assert all(torch.equal(masks[name], before[name]) for name in before)


@pytest.mark.parametrize("pattern", ["2:4", "2:4T", "block:4x4"])
@pytest.mark.parametrize("shape", [(8, 10), (10, 8)])
def test_no_tail_is_left_dense_without_a_word(pattern: str, shape: tuple[int, int]) -> None:
    """Rows and columns beyond a multiple of M stayed dense, and nobody was told."""
    layer = nn.Linear(*shape)
    sparsity = None if ":4x" not in pattern else 0.5
    if pattern == "2:4" and shape[0] == 8:
        assert prune(layer, pattern=pattern).sparsity == 0.5
        return
    with pytest.raises(ValueError, match=r"divisible by 4.*ignore="):
        prune(layer, sparsity, pattern=pattern)


def test_both_ways_works_on_this_machine_and_for_every_m() -> None:
    """Peers' two-dimensional masks crash, or want a GPU."""
    for pattern in ("1:2T", "2:4T", "3:6T", "4:8T"):
        model = nn.Linear(48, 48)
        verify(model, prune(model, pattern=pattern), pattern=pattern).require()


def test_global_pruning_looks_at_tensors_and_not_at_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A heap over `.item()` of every weight takes minutes; ours asks for a few numbers in all."""
    asked: Counter[str] = Counter()

    def counted(name: str) -> Any:
        real = getattr(Tensor, name)

        def method(self: Tensor, *args: Any) -> Any:
            asked[name] += 1
            return real(self, *args)

        return method

    for name in ("item", "__float__", "__int__", "__bool__", "tolist"):
        monkeypatch.setattr(Tensor, name, counted(name))
    prune(mlp(600, 600, 600), 0.9, scope="global")
    assert 0 < sum(asked.values()) < 200


def test_global_pruning_joins_nothing_of_the_model_s_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Concatenating all weights doubles the memory that pruning needs."""
    joined: list[int] = []
    real = torch.cat

    def watched(tensors: Any, *args: Any, **kwargs: Any) -> Tensor:
        result = real(tensors, *args, **kwargs)
        joined.append(result.numel())
        return result

    monkeypatch.setattr(torch, "cat", watched)
    model = mlp(*[700] * 8)
    prune(model, 0.9, scope="global")
    assert max(joined) < 700 * 700 / 2


def test_pruning_again_and_again_holds_no_more_memory() -> None:
    """A second mask per parameter, kept by each call, leaked."""
    model = mlp(64, 64)

    def tensors() -> int:
        gc.collect()
        return sum(type(thing) is Tensor for thing in gc.get_objects())

    prune(model, 0.1)
    before = tensors()
    for sparsity in (0.2, 0.4, 0.6, 0.8):
        prune(model, sparsity)
    assert tensors() <= before
