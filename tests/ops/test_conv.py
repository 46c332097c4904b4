"""Convolution ops: gradients, types, shape rules and refusals, with and without kernels."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from secateur import ops
from secateur.backends import cpu
from secateur.formats import FORMATS, with_verdicts
from secateur.nn import packing
from tests.support import data, judge, truth

FORMATS_WITH_CONV = packing.convolved()
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strided": {"stride": (2, 1), "padding": (1, 0, 2, 1)},
    "dilated": {"dilation": (1, 2), "padding": (2, 2, 1, 1), "act": "silu"},
    "resnet": {"padding": (1, 1, 1, 1), "act": "relu", "residual_first": True},
    "grouped": {"groups": 2, "padding": (1, 1, 1, 1), "act": "relu"},
}


def problem(
    name: str, groups: int = 1, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x, values, index, the kept positions as a weight of ones, and bias."""
    gen = data.generator()
    channels, out, kernel = 4, 6, (2, 3)
    columns = channels * kernel[0] * kernel[1]
    weight = data.reals((out, columns), gen, dtype)
    mask = data.mask_for(name, out, columns, gen)
    packer = FORMATS.get(name)
    packed = packer.pack(weight, mask, packer.conv_layout(mask, groups))
    x = data.reals((2, groups * channels, 5, 6), gen, dtype)
    kept = mask.view(out, *kernel, channels).movedim(-1, 1)
    return x, packed.values, packed.index, kept, data.reals((out,), gen, dtype)


def call(name: str, *tensors: Tensor | None, **options: Any) -> Tensor:
    op = getattr(ops, f"{name}_conv2d")
    y: Tensor = op(*tensors, out_channels=6, kernel_size=(2, 3), **options)
    return y


@pytest.mark.parametrize("name", FORMATS_WITH_CONV)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_gradients(name: str, options: dict[str, Any]) -> None:
    x, values, index, _, bias = problem(name, options.get("groups", 1))
    shape = call(name, x, values, index, bias, **options).shape
    residual = data.reals(shape, data.generator(3), torch.float64)
    leaves = [t.clone().requires_grad_() for t in (x, values, bias, residual)]

    def run(x: Tensor, values: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
        return call(name, x, values, index, bias, residual, **options)

    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("name", FORMATS_WITH_CONV)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_every_type_and_memory_format_is_near_the_dense_convolution(
    name: str, options: dict[str, Any], dtype: torch.dtype
) -> None:
    x, values, index, _, bias = problem(name, options.get("groups", 1), dtype)
    dense = FORMATS.get(name).unpack(values, index).view(6, 2, 3, 4).movedim(-1, 1)
    geometry = {k: v for k, v in options.items() if k in ("stride", "dilation", "groups")}
    padded = F.pad(x, options.get("padding", (0, 0, 0, 0)))
    known = truth.conv2d(padded, dense, bias, options.get("act", "none"), **geometry)
    for last in (torch.contiguous_format, torch.channels_last):
        with torch.no_grad():
            y = call(name, x.contiguous(memory_format=last), values, index, bias, **options)
        assert y.dtype == dtype
        assert y.is_contiguous(memory_format=last)
        judge.within_bound(y, known)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_the_dense_copy_runs_where_it_was_measured_faster(options: dict[str, Any]) -> None:
    x, values, index, kept, bias = problem("csr", options.get("groups", 1), torch.float32)
    dense = torch.full(kept.shape, 2.0)  # another weight, so that it shows which one ran
    geometry = {k: v for k, v in options.items() if k in ("stride", "dilation", "groups")}
    padded = F.pad(x, options.get("padding", (0, 0, 0, 0)))
    known = truth.conv2d(padded, dense, bias, options.get("act", "none"), **geometry)
    pixels = known.y.numel() // 6
    measured = with_verdicts(index, {pixels: "dense"}, cpu.machine())
    judge.within_bound(call("csr", x, values, measured, bias, dense=dense, **options), known)
    other = with_verdicts(index, {pixels: "sparse"}, cpu.machine())
    without = call("csr", x, values, index, bias, **options)
    judge.exact(call("csr", x, values, other, bias, dense=dense, **options), without)


@pytest.mark.parametrize("name", FORMATS_WITH_CONV)
def test_infinity_at_a_pruned_position_is_not_seen(name: str) -> None:
    x, _, _, kept, bias = problem(name, dtype=torch.float32)
    kept[:, 0] = False
    matrix = torch.ones(6, 24)
    mask = kept.movedim(1, -1).flatten(1)
    if FORMATS.get(name).fits(mask) is not None:
        pytest.skip(f"{name} would fill what is pruned")
    packed = FORMATS.get(name).pack(matrix, mask)
    clean = call(name, x, packed.values, packed.index, bias)
    x[:, 0] = float("inf")
    judge.exact(call(name, x, packed.values, packed.index, bias), clean)


def test_an_empty_batch_and_a_kernel_larger_than_x() -> None:
    x, values, index, _, bias = problem("csr", dtype=torch.float32)
    assert call("csr", x[:0], values, index, bias).shape == (0, 6, 4, 4)
    assert call("csr", x[:, :, :1], values, index, bias).shape == (2, 6, 0, 4)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inductor imports it
@pytest.mark.unpoisoned
def test_compiles_without_a_break() -> None:
    x, values, index, _, bias = problem("csr", dtype=torch.float32)
    compiled = torch.compile(lambda x: call("csr", x, values, index, bias), fullgraph=True)
    judge.exact(compiled(x), call("csr", x, values, index, bias))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "three dimensions": ({"x": torch.ones(4, 5, 6)}, r"x must be \[N, C, H, W\]"),
    "other channels": ({"x": torch.ones(2, 5, 5, 6)}, "features but the weight expects"),
    "stride 0": ({"stride": (0, 1)}, "stride must be 2 whole numbers of at least 1"),
    "padding of two": ({"padding": (1, 1)}, "padding must be 4 whole numbers"),
    "negative padding": ({"padding": (-1, 0, 0, 0)}, "padding must be 4 whole numbers"),
    "dilation 0": ({"dilation": (1, 0)}, "dilation must be 2 whole numbers"),
    "groups": ({"groups": 4}, "groups must divide the channels"),
    "activation": ({"act": "tanh"}, "act must be one of"),
    "bias": ({"bias": torch.ones(5)}, "bias must be"),
    "residual": ({"residual": torch.ones(2, 6, 1, 1)}, "residual must be"),
}


WRONG_KIND: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "whole numbers": ({"x": torch.ones(2, 4, 5, 6, dtype=torch.int64)}, TypeError, "x must be"),
    "another device": ({"values": torch.ones(400, device="meta")}, ValueError, "meta"),
    "residual of whole numbers": (
        {"residual": torch.ones(2, 6, 4, 4, dtype=torch.int64)},
        TypeError,
        "residual must be floating",
    ),
    "residual elsewhere": (
        {"residual": torch.ones(2, 6, 4, 4, device="meta")},
        ValueError,
        "residual is on meta but x is on cpu",
    ),
}


@pytest.mark.parametrize(("change", "kind", "message"), WRONG_KIND.values(), ids=WRONG_KIND.keys())
def test_another_type_or_device_is_named(
    change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    x, values, index, _, bias = problem("csr", dtype=torch.float32)
    named = {"x": x, "values": values, "index": index, "bias": bias, **change}
    with pytest.raises(kind, match=re.compile("csr_conv2d.*" + message, re.DOTALL)):
        ops.csr_conv2d(**{"out_channels": 6, "kernel_size": (2, 3), **named})


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    x, values, index, _, bias = problem("csr", dtype=torch.float32)
    named = {"x": x, "values": values, "index": index, "bias": bias, **change}
    with pytest.raises(ValueError, match=re.compile("csr_conv2d.*" + message, re.DOTALL)):
        ops.csr_conv2d(**{"out_channels": 6, "kernel_size": (2, 3), **named})
