"""masked_linear in Triton's interpreter, with masks of bytes and of bits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from secateur import ops
from secateur.backends.triton import _masked_linear as triton_masked
from tests.support import data, judge, truth

TYPES = [torch.float32, torch.float16, torch.bfloat16]
verify = pytest.mark.verify
bits = pytest.mark.parametrize("bits", [False, True], ids=["bytes", "bits"])


def stored(mask: Tensor, bits: bool) -> Tensor:
    return triton_masked.packed_bits(mask) if bits else mask


def test_bits_are_the_mask() -> None:
    mask = data.random_mask(5, 19, 0.5, data.generator())
    packed = triton_masked.packed_bits(mask)
    assert packed.shape == (5, 3)
    for row, column in mask.nonzero().tolist():
        packed[row, column // 8] -= 1 << column % 8
    assert not packed.any()


@bits
@pytest.mark.parametrize("rows", [1, 17, pytest.param(65, marks=verify)])
def test_forward_and_gradients(bits: bool, rows: int) -> None:
    gen = data.generator(1)
    out, in_ = 70, 100
    weight, mask = data.integers((out, in_), gen), data.random_mask(out, in_, 0.4, gen)
    poisoned = data.nan_margins(weight.masked_fill(~mask, float("nan")))
    x, bias, grad = (data.integers(s, gen) for s in ((rows, in_), (out,), (rows, out)))
    kept = stored(mask, bits)
    for count in (1, 2):
        y = triton_masked.masked_linear(
            data.nan_margins(x), poisoned, kept, bias, act="relu", count=count
        )
        judge.exact_truth(y, truth.linear(x, weight, mask, bias, act="relu"))
        dx = triton_masked.masked_linear_dx(data.nan_margins(grad), poisoned, kept, count)
        judge.exact_truth(dx, truth.grad_x(grad, weight, mask))
        dw = triton_masked.masked_linear_dw(grad, data.nan_margins(x), kept, count)
        judge.exact_truth(dw, truth.grad_weight(grad, x, mask))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_reals_stay_within_the_error_bound(dtype: torch.dtype) -> None:
    gen = data.generator(2)
    mask = data.random_mask(40, 72, 0.5, gen)
    weight, x, bias, grad = (data.reals(s, gen, dtype) for s in ((40, 72), (5, 72), (40,), (5, 40)))
    y = triton_masked.masked_linear(x, weight, mask, bias, act="silu")
    judge.within_bound(y, truth.linear(x, weight, mask, bias, act="silu"))
    dx = triton_masked.masked_linear_dx(grad, weight, mask)
    judge.within_bound(dx, truth.grad_x(grad, weight, mask))
    dw = triton_masked.masked_linear_dw(grad, x, mask)
    judge.within_bound(dw, truth.grad_weight(grad, x, mask))


def test_infinity_meets_zeros_as_in_the_op() -> None:
    gen = data.generator(3)
    weight, mask = data.integers((20, 36), gen), data.random_mask(20, 36, 0.5, gen)
    x = data.integers((3, 36), gen)
    x[0, 4], x[1, 35] = float("inf"), float("nan")
    y = triton_masked.masked_linear(x, weight, mask)
    wanted = ops.masked_linear(x, weight, mask)
    torch.testing.assert_close(y, wanted, rtol=0, atol=0, equal_nan=True)


def test_slices_empty_masks_and_no_rows() -> None:
    gen = data.generator(4)
    wide, mask = data.integers((3, 5, 80), gen), data.random_mask(24, 80, 0.5, gen)
    weight = data.integers((24, 80), gen)
    x, w, m = wide[:, 1, ::2], weight[:, :40], mask[:, :40]
    judge.exact_truth(triton_masked.masked_linear(x, w, m), truth.linear(x, w, m))
    none = torch.zeros_like(m)
    y = triton_masked.masked_linear(x, w, none)
    judge.exact(y, torch.zeros(3, 24))
    judge.exact(triton_masked.masked_linear_dw(y, x, none), torch.zeros(24, 40))
    judge.exact(triton_masked.masked_linear_dw(y[:0], x[:0], m), torch.zeros(24, 40))
    assert triton_masked.masked_linear(x[:0], w, m).shape == (0, 24)
