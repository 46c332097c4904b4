"""Kept weights held in fewer bytes: what a layer then computes, saves, and refuses."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from secateur.formats import FORMATS
from tests.support import data, judge, truth

FLOATS = [torch.bfloat16, torch.float16, torch.float64]


def layer(format: str = "csr", dtype: torch.dtype = torch.int8) -> sc.SparseLinear:
    gen = data.generator()
    linear = nn.Linear(96, 40)
    mask = data.nm_mask(40, 96, 2, 4, gen)
    with torch.no_grad():
        linear.weight.copy_(data.reals((40, 96), gen))
        linear.bias.copy_(data.reals((40,), gen))
    return sc.SparseLinear.from_dense(linear, mask, format=format).store(dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_floats_are_rounded_and_nothing_else(dtype: torch.dtype) -> None:
    before = layer(dtype=torch.float32)
    after = copy.deepcopy(before).store(dtype)
    judge.exact(after.weight, before.weight.to(dtype))
    assert after.values.dtype == dtype
    assert after.scale is None
    assert after.values.requires_grad


@pytest.mark.parametrize("format", ["csr", "nm"])
def test_int8_is_within_half_a_step_of_what_was(format: str) -> None:
    before, after = layer(format, torch.float32), layer(format)
    step = before.weight.abs().amax(1, keepdim=True) / 127
    # Half a step, and one rounding of the division and of the product each.
    allowed = step / 2 + 2 * torch.finfo(torch.float32).eps * before.weight.abs()
    assert bool(((after.weight - before.weight).abs() <= allowed).all())
    assert torch.equal(after.mask, before.mask)


@pytest.mark.parametrize("format", ["csr", "nm"])
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_int8_computes_with_the_weight_it_shows(format: str, rows: int) -> None:
    sparse = layer(format)
    x = data.reals((rows, 96), data.generator(1))
    with torch.no_grad():
        y = sparse(x)
    assert sparse.bias is not None
    judge.within_bound(y, truth.linear(x, sparse.weight, sparse.mask, sparse.bias.detach()))


def test_int8_takes_a_quarter_of_the_bytes() -> None:
    assert layer().values.nbytes * 4 == layer(dtype=torch.float32).values.nbytes


def test_x_gets_its_gradient_and_int8_weights_get_none() -> None:
    sparse = layer()
    x = data.reals((3, 96), data.generator(1)).requires_grad_()
    sparse(x).sum().backward()
    ones = torch.ones(3, 40)
    judge.within_bound(x.grad, truth.grad_x(ones, sparse.weight, sparse.mask))
    assert not sparse.values.requires_grad
    assert sparse.bias is not None
    assert sparse.bias.grad is not None


def test_a_cast_of_the_module_leaves_int8_and_its_scale() -> None:
    sparse = layer().to(torch.bfloat16)
    assert sparse.values.dtype == torch.int8
    assert sparse.scale is not None
    assert sparse.scale.dtype == torch.float32
    assert sparse(torch.ones(2, 96, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("assign", [False, True])
def test_state_goes_into_a_layer_of_floats(assign: bool) -> None:
    saved, other = layer(), layer(dtype=torch.float32)
    other.load_state_dict(saved.state_dict(), assign=assign)
    judge.exact(other.weight, saved.weight)
    assert other.values.dtype == torch.int8


def test_state_of_floats_goes_into_an_int8_layer() -> None:
    saved, other = layer(dtype=torch.float32), layer()
    other.load_state_dict(saved.state_dict())
    judge.exact(other.weight, saved.weight)
    assert other.scale is None


def test_a_file_holds_int8_and_brings_it_back(tmp_path: Path) -> None:
    model = nn.Sequential(layer(), nn.ReLU())
    path = tmp_path / "model.safetensors"
    sc.save(model, path)
    back = sc.load(nn.Sequential(nn.Linear(96, 40), nn.ReLU()), path)
    assert isinstance(back[0], sc.SparseLinear)
    assert back[0].values.dtype == torch.int8
    judge.exact(back[0].weight, model[0].weight)


def test_convert_holds_what_it_is_told_to() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    sc.prune(model, sparsity=0.9)
    fast = sc.convert(model, gate="always", values=torch.int8)
    assert isinstance(fast[0], sc.SparseLinear)
    assert fast[0].values.dtype == torch.int8
    assert isinstance(model[0], nn.Linear)
    for note in sc.explain(fast).layers:
        assert note.bytes_sparse < note.bytes_dense


def test_to_dense_is_float_again() -> None:
    dense = layer().to_dense()
    assert dense.weight.dtype == torch.float32


def test_what_cannot_be_held_is_named() -> None:
    with pytest.raises(ValueError, match=r"values: wanted one of .*int8, got torch\.int32"):
        layer().store(torch.int32)
    with pytest.raises(ValueError, match=r"values: wanted one of .*, got torch\.bool"):
        sc.convert(nn.Linear(4, 4), gate="always", values=torch.bool)
    infinite = layer(dtype=torch.float32)
    with torch.no_grad():
        infinite.values[0] = float("inf")
    with pytest.raises(ValueError, match="a kept weight is not finite"):
        infinite.store(torch.int8)


def test_an_output_without_weights_has_a_scale_of_one() -> None:
    weight, mask = torch.zeros(3, 8), torch.zeros(3, 8, dtype=torch.bool)
    mask[1, 2], weight[1, 2] = True, 2.0
    sparse = sc.SparseLinear(FORMATS.get("csr").pack(weight, mask)).store(torch.int8)
    judge.exact(sparse.weight, weight)


def test_autocast_keeps_int8() -> None:
    sparse = layer()
    x: Tensor = data.reals((2, 96), data.generator(1))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert sparse(x).dtype == torch.bfloat16
