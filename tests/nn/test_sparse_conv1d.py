"""SparseConv1d against nn.Conv1d: equal on whole numbers, whatever the arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from tests.support import data, judge

ARGUMENTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strided": {"stride": 2, "padding": 3},
    "dilated": {"dilation": 3, "padding": "same"},
    "even kernel": {"kernel_size": 4, "padding": "same"},
    "grouped": {"groups": 2, "bias": False},
    "reflected": {"padding": 2, "padding_mode": "reflect"},
    "circular": {"padding": 1, "padding_mode": "circular"},
}


def conv(**arguments: Any) -> nn.Conv1d:
    sizes = {"in_channels": 8, "out_channels": 12, "kernel_size": 3}
    made, gen = nn.Conv1d(**sizes | arguments), data.generator()
    with torch.no_grad():
        kept = data.random_mask(12, made.weight[0].numel(), 0.4, gen).view_as(made.weight)
        made.weight.copy_(data.integers(made.weight.shape, gen) * kept)
        if made.bias is not None:
            made.bias.copy_(data.integers((12,), gen))
    return made.eval()


def sequence(*shape: int) -> Tensor:
    return data.integers(shape or (2, 8, 21), data.generator(1))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_it_computes_what_the_dense_layer_does(arguments: dict[str, Any]) -> None:
    dense = conv(**arguments)
    sparse = sc.SparseConv1d.from_dense(dense)
    for x in (sequence(), sequence(8, 21)):
        judge.exact(sparse(x), dense(x))
    judge.exact(sparse.weight, dense.weight.detach())
    back = sparse.to_dense()
    assert type(back) is nn.Conv1d
    judge.exact(back(sequence()), dense(sequence()))


def test_it_learns_as_the_dense_layer_does() -> None:
    dense, x = conv(padding=1), sequence().requires_grad_()
    sparse = sc.SparseConv1d.from_dense(dense)
    grad = data.integers(sparse(x).shape, data.generator(2))
    sparse(x).backward(grad)
    found, x.grad = x.grad, None
    dense(x).backward(grad)
    judge.exact(found, x.grad)


@pytest.mark.parametrize("way", ["always", "model", "measured"])
def test_convert_save_and_load(way: str, tmp_path: Path) -> None:
    model = nn.Sequential(conv(padding=1), nn.ReLU(), conv(in_channels=12)).eval()
    fast = sc.convert(model, sequence(), gate=way)
    judge.exact(fast(sequence()), model(sequence()))
    sc.save(fast, tmp_path / "conv.safetensors")
    judge.exact(sc.load(model, tmp_path / "conv.safetensors")(sequence()), model(sequence()))
    if way == "always":
        assert [row.op for row in sc.explain(fast).rows] == ["csr_conv2d", "csr_conv2d"]
        assert isinstance(fast[0], sc.SparseConv1d)
        judge.exact(sc.to_dense(fast)(sequence()), model(sequence()))


def test_a_layer_of_other_dimensions_is_refused() -> None:
    with pytest.raises(TypeError, match=r"wanted an nn\.Conv2d, got Conv1d; use SparseConv1d"):
        sc.SparseConv2d.from_dense(conv())
    with pytest.raises(TypeError, match=r"wanted an nn\.Conv1d, got Conv2d; use SparseConv2d"):
        sc.SparseConv1d.from_dense(nn.Conv2d(8, 12, 3))


def test_a_wrong_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"x must be \[N, C, L\] or \[C, L\]"):
        sc.SparseConv1d.from_dense(conv())(torch.ones(1, 1, 8, 21))
