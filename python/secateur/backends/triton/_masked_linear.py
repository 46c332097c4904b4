"""masked_linear on a GPU: the mask is applied as the weight is loaded, never to a copy of it."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from secateur.backends.triton import _launch
from secateur.backends.triton._launch import Tail, launched
from secateur.backends.triton._tune import Tuned, config
from secateur.backends.triton.kernels import masked

_TILE = 64

_product = Tuned(
    masked.product,
    ("TOKENS", "OUT"),
    cores=[
        config(4, 3, TOKENS=16, OUT=64, STEP=64),
        config(4, 3, TOKENS=64, OUT=64, STEP=32),
        config(4, 3, TOKENS=64, OUT=128, STEP=32),
        config(8, 3, TOKENS=128, OUT=128, STEP=32),
        config(8, 4, TOKENS=128, OUT=128, STEP=32),
    ],
    exact=[
        config(4, 3, TOKENS=16, OUT=64, STEP=16),
        config(8, 3, TOKENS=64, OUT=64, STEP=16),
        config(8, 3, TOKENS=32, OUT=64, STEP=32),
    ],
    key=["ins", "outs", "TRANSPOSED", "BITS"],
)
_gradient = Tuned(
    masked.gradient,
    ("OUT", "IN"),
    cores=[
        config(4, 3, OUT=64, IN=64, STEP=32),
        config(4, 3, OUT=64, IN=128, STEP=32),
        config(8, 3, OUT=128, IN=128, STEP=32),
        config(8, 3, OUT=128, IN=128, STEP=64),
    ],
    exact=[
        config(8, 3, OUT=64, IN=64, STEP=16),
        config(4, 3, OUT=32, IN=64, STEP=16),
        config(8, 3, OUT=64, IN=64, STEP=32),
    ],
    key=["ins", "outs", "BITS"],
)


def packed_bits(mask: Tensor) -> Tensor:
    """Return a bool mask [out, in] as bits: [out, ceil(in / 8)], uint8, lowest bit first."""
    out, in_ = mask.shape
    padded = torch.nn.functional.pad(mask.to(torch.uint8), (0, -in_ % 8))
    places = torch.arange(8, device=mask.device, dtype=torch.uint8)
    bits = padded.view(out, -1, 8) << places
    return bits.sum(2, dtype=torch.uint8)


def _product_of(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    tail: Tail,
    *,
    transposed: bool,
    count: int | None = None,
) -> Tensor:
    """Return act(x (W * mask)ᵀ + bias) + residual, or x (W * mask)."""
    flat, weight = _launch.as_rows(x), _side_by_side(weight)
    mask, bits = _read(mask)
    rows, ins = flat.shape
    outs = weight.shape[1 if transposed else 0]
    y = x.new_empty((*x.shape[:-1], outs))
    if y.numel() == 0:
        return y
    if count is None:
        tokens = min(128, max(16, triton.next_power_of_2(rows)))
        programs = triton.cdiv(rows, tokens) * triton.cdiv(outs, _TILE)
        count = _launch.parts(programs, ins // _TILE, x.device)
    partial = _launch.sheets(count, y.numel(), x.device)
    launched(_product.launcher)[
        lambda meta: (triton.cdiv(rows, meta["TOKENS"]), triton.cdiv(outs, meta["OUT"]), count)
    ](
        flat,
        weight,
        mask,
        y,
        partial,
        tail.bias if partial is None else None,
        tail.residual if partial is None else None,
        rows,
        ins,
        outs,
        flat.stride(0),
        weight.stride(0),
        mask.stride(0),
        _launch.row_bucket(rows),
        TRANSPOSED=transposed,
        BITS=bits,
        ACT=tail.act,
        PRECISION=_launch.precision(x, weight),
    )
    if partial is not None:
        _launch.add_parts(partial, y, y.numel(), outs, tail)
    return y


def masked_linear(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    bias: Tensor | None = None,
    *,
    act: str = "none",
    count: int | None = None,
) -> Tensor:
    """Return act(x (W * mask)ᵀ + bias), as `ops.masked_linear` means it.

    What a removed weight is does not matter, be it NaN; but x meets zeros there, and inf in x
    makes NaN of them.

    Args:
        x: [..., in].
        weight: [out, in], of x's dtype.
        mask: [out, in], bool; or its `packed_bits`, an eighth of the bytes.
        bias: [out].
        act: an activation of the op.
        count: parts that each sum is cut into; None decides by the grid.
    """
    return _product_of(x, weight, mask, Tail(bias, None, act), transposed=False, count=count)


def masked_linear_dx(
    grad_y: Tensor, weight: Tensor, mask: Tensor, count: int | None = None
) -> Tensor:
    """Return the gradient of x, dY (W * mask): [..., in]. The mask is as in `masked_linear`."""
    return _product_of(grad_y, weight, mask, Tail(), transposed=True, count=count)


def masked_linear_dw(grad_y: Tensor, x: Tensor, mask: Tensor, count: int | None = None) -> Tensor:
    """Return the gradient of the weight, dYᵀ X where kept and zero elsewhere: [out, in].

    Args:
        grad_y: [..., out].
        x: [..., in].
        mask: [out, in], bool, or its `packed_bits`.
        count: parts that the sum over rows is cut into; None decides by the grid.
    """
    flat_y, flat_x = _launch.as_rows(grad_y), _launch.as_rows(x)
    mask, bits = _read(mask)
    (rows, outs), ins = flat_y.shape, flat_x.shape[1]
    dw = grad_y.new_empty(outs, ins)
    if dw.numel() == 0:
        return dw
    if count is None:
        programs = triton.cdiv(outs, _TILE) * triton.cdiv(ins, _TILE)
        count = _launch.parts(programs, rows // _TILE, x.device)
    partial = _launch.sheets(count, dw.numel(), x.device)
    launched(_gradient.launcher)[
        lambda meta: (triton.cdiv(outs, meta["OUT"]), triton.cdiv(ins, meta["IN"]), count)
    ](
        flat_y,
        flat_x,
        mask,
        dw,
        partial,
        rows,
        outs,
        ins,
        flat_y.stride(0),
        flat_x.stride(0),
        mask.stride(0),
        _launch.row_bucket(rows),
        BITS=bits,
        PRECISION=_launch.precision(grad_y, x),
    )
    if partial is not None:
        _launch.add_parts(partial, dw, dw.numel(), ins, Tail())
    return dw


def _side_by_side(matrix: Tensor) -> Tensor:
    return matrix if matrix.stride(1) == 1 else matrix.contiguous()


def _read(mask: Tensor) -> tuple[Tensor, bool]:
    """Return the mask as bytes, and whether they are bits."""
    bits = mask.dtype == torch.uint8
    return _side_by_side(mask if bits else mask.view(torch.uint8)), bits
