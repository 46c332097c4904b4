"""MaskedLinear: a dense layer under a mask, on its way to a sparse one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import secateur as sc
from secateur.nn import MaskedLinear
from tests.nn.layers import linear, x_for
from tests.support.data import generator, integers, nm_mask, random_mask
from tests.support.judge import exact

MASK = random_mask(40, 64, 0.3, generator(7))
FULL = torch.ones(40, 64, dtype=torch.bool)


def dense(mask: torch.Tensor = FULL) -> nn.Linear:
    return linear(40, 64, mask)


@pytest.mark.parametrize("bias", [True, False])
def test_it_computes_what_the_masked_dense_layer_does(bias: bool) -> None:
    layer = dense()
    if not bias:
        layer.bias = None
    masked = MaskedLinear.from_dense(layer, MASK.float())
    for lead in ((), (0,), (3,), (2, 3)):
        x = x_for(layer, *lead)
        exact(masked(x), nn.functional.linear(x, layer.weight * MASK, layer.bias))
    assert f"sparsity={1 - MASK.float().mean():.3f}, gradient=kept" in repr(masked)


def test_the_dense_layer_is_left_alone_and_shares_nothing() -> None:
    layer = dense().eval()
    before = copy.deepcopy(layer.state_dict())
    masked = MaskedLinear.from_dense(layer, MASK)
    assert not masked.training
    with torch.no_grad():
        for parameter in masked.parameters():
            parameter.add_(1)
    for name, tensor in layer.state_dict().items():
        exact(tensor, before[name])
    assert not any(
        p.requires_grad for p in MaskedLinear.from_dense(layer.requires_grad_(False)).parameters()
    )


def test_where_the_mask_comes_from() -> None:
    exact(MaskedLinear.from_dense(dense(MASK)).mask, dense(MASK).weight.detach() != 0)
    pruned = dense()
    prune.custom_from_mask(pruned, "weight", MASK)
    exact(MaskedLinear.from_dense(pruned, pruned.weight_mask).mask, MASK)
    again = MaskedLinear.from_dense(MaskedLinear.from_dense(dense(), MASK))
    exact(again.mask, MASK)
    exact(MaskedLinear(64, 40).mask, FULL)


@pytest.mark.parametrize(("mask", "format"), [(MASK, "csr"), (None, "nm")], ids=["csr", "nm"])
def test_it_becomes_a_sparse_layer_with_its_mask(mask: torch.Tensor | None, format: str) -> None:
    """Also where a kept weight is zero by chance, and a removed one is not zero."""
    mask = nm_mask(40, 64, 2, 4, generator()) if mask is None else mask
    masked = MaskedLinear.from_dense(dense(), mask)
    with torch.no_grad():
        masked.weight[mask.nonzero()[0, 0], mask.nonzero()[0, 1]] = 0
    sparse = sc.SparseLinear.from_dense(masked)
    assert sparse.format == format
    exact(sparse.mask, mask)
    x = x_for(masked, 5)
    exact(sparse(x), masked(x))


def test_convert_swaps_it() -> None:
    model = nn.Sequential(MaskedLinear.from_dense(dense(), MASK), nn.ReLU())
    fast = sc.convert(model, x_for(model[0], 8), gate="always")
    assert isinstance(fast[0], sc.SparseLinear)
    exact(fast[0].mask, MASK)
    exact(fast(x_for(model[0], 8)), model(x_for(model[0], 8)))


def test_removed_weights_take_no_part_whatever_an_optimizer_does() -> None:
    masked = MaskedLinear.from_dense(dense(), MASK)
    optimizer = torch.optim.AdamW(masked.parameters(), lr=0.5, weight_decay=0.5)
    before = masked.weight.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        masked(x_for(masked, 4)).square().mean().backward()
        assert not masked.weight.grad[~MASK].any()
        optimizer.step()
    assert not torch.equal(masked.weight[~MASK], before[~MASK]), "decay was to move them"
    x = x_for(masked, 4)
    exact(masked(x), nn.functional.linear(x, masked.weight * MASK, masked.bias))


def test_weights_can_be_grown_by_the_dense_gradient() -> None:
    """One step of RigL: the removed weight with the largest gradient comes back."""
    masked = MaskedLinear.from_dense(dense(MASK), MASK, gradient="dense")
    x = x_for(masked, 6)
    grad = integers((6, 40), generator(9))
    masked(x).backward(grad)
    exact(masked.weight.grad, grad.T @ x)
    row, column = divmod(int((masked.weight.grad.abs() * ~MASK).argmax()), 64)
    masked.mask[row, column] = True
    with torch.no_grad():
        masked.weight[row, column] = 1
        y = masked(x)
    grown = MASK.clone()
    grown[row, column] = True
    exact(y, nn.functional.linear(x, masked.weight * grown, masked.bias).detach())


def test_its_state_holds_the_mask() -> None:
    masked, other = MaskedLinear.from_dense(dense(), MASK), MaskedLinear(64, 40)
    other.load_state_dict(masked.state_dict())
    exact(other.mask, MASK)
    exact(other(x_for(masked, 3)), masked(x_for(masked, 3)))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match=r"linear: wanted nn.Linear, got Conv1d"):
        MaskedLinear.from_dense(nn.Conv1d(4, 4, 1))
    with pytest.raises(ValueError, match=r"\[out, in\] = \[40, 64\], got \[64, 40\]"):
        MaskedLinear.from_dense(dense(), MASK.T)
    with pytest.raises(ValueError, match="gradient: wanted 'kept' or 'dense', got 'all'"):
        MaskedLinear.from_dense(dense(), MASK, gradient="all")


@pytest.mark.unpoisoned  # filling memory is an op that would be traced
@pytest.mark.parametrize("gradient", ["kept", "dense"])
def test_a_compiled_step_equals_eager_and_follows_the_mask(gradient: str) -> None:
    torch._dynamo.reset()
    masked = MaskedLinear.from_dense(dense(), MASK, gradient=gradient)
    compiled = torch.compile(masked, fullgraph=True, backend="aot_eager")
    for mask in (MASK, ~MASK):
        masked.mask.copy_(mask)
        answers = []
        for run in (masked, compiled):
            masked.zero_grad()
            x = x_for(masked, 5).requires_grad_()
            y = run(x)
            y.backward(integers((5, 40), generator(3)))
            answers.append([y.detach(), x.grad, masked.weight.grad, masked.bias.grad])
        for eager, traced in zip(*answers, strict=True):
            exact(traced, eager)
        exact(answers[0][0], nn.functional.linear(x, masked.weight * mask, masked.bias).detach())
