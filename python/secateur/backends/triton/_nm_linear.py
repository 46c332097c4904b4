"""nm_linear on a GPU: N kept of every M, spread to dense tiles on the way to the tensor cores."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from secateur.backends.beside import beside
from secateur.backends.triton import _launch
from secateur.backends.triton._launch import Tail, launched
from secateur.backends.triton._tune import Tuned, config
from secateur.backends.triton.kernels import nm
from secateur.backends.triton.nm_linear import WIDEST
from secateur.formats import Header

_KEY = ["ins", "outs", "N", "M"]

_forward = Tuned(
    nm.forward,
    ("TOKENS", "OUT"),
    cores=[
        config(4, 3, TOKENS=16, OUT=64, STEP=64),
        config(2, 4, TOKENS=16, OUT=32, STEP=64),
        config(4, 3, TOKENS=32, OUT=64, STEP=64),
        config(4, 3, TOKENS=64, OUT=64, STEP=64),
        config(8, 3, TOKENS=128, OUT=64, STEP=32),
        config(8, 3, TOKENS=128, OUT=128, STEP=32),
    ],
    exact=[
        config(4, 3, TOKENS=16, OUT=32, STEP=32),
        config(4, 3, TOKENS=32, OUT=32, STEP=32),
        config(8, 3, TOKENS=64, OUT=32, STEP=32),
    ],
    key=_KEY,
)
_backward = Tuned(
    nm.backward,
    ("TOKENS", "IN"),
    cores=[
        config(4, 3, TOKENS=16, IN=64, STEP=64),
        config(4, 3, TOKENS=64, IN=64, STEP=32),
        config(4, 3, TOKENS=64, IN=64, STEP=64),
        config(8, 3, TOKENS=128, IN=64, STEP=32),
        config(8, 3, TOKENS=128, IN=64, STEP=64),
    ],
    exact=[
        config(4, 3, TOKENS=16, IN=32, STEP=32),
        config(4, 3, TOKENS=32, IN=32, STEP=32),
        config(8, 3, TOKENS=64, IN=32, STEP=32),
    ],
    key=_KEY,
)
_gradient = Tuned(
    nm.gradient,
    ("OUT", "IN"),
    cores=[
        config(4, 3, OUT=64, IN=64, STEP=32),
        config(4, 3, OUT=64, IN=64, STEP=64),
        config(8, 3, OUT=128, IN=64, STEP=32),
        config(8, 3, OUT=128, IN=64, STEP=64),
    ],
    exact=[
        config(8, 3, OUT=64, IN=64, STEP=16),
        config(4, 3, OUT=32, IN=64, STEP=16),
        config(4, 3, OUT=32, IN=32, STEP=32),
    ],
    key=_KEY,
)


def _code_bits(head: Header) -> int:
    return 2 if head.m <= 4 else 4


def _packing(head: Header) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the kernels ask of a packed weight: numbers of a row, and numbers to compile for."""
    bits = _code_bits(head)
    tail = head.in_features % head.k_block
    widths = [head.k_block] * (head.in_features // head.k_block) + [tail] * (tail > 0)
    code_row = sum(-(-width // head.m * head.n * bits // 32) * 4 for width in widths)
    numbers = {"value_row": head.in_features // head.m * head.n, "code_row": code_row}
    constants = {
        "N": head.n,
        "M": head.m,
        "NP": triton.next_power_of_2(head.n),
        "BITS": bits,
        "K_BLOCK": head.k_block,
        "ROW_BLOCK": head.row_block,
        "TAIL": tail > 0,
    }
    return numbers, constants


def _parts(rows: int, across: int, summed: int, device: torch.device) -> int:
    """Return into how many parts the sums of `rows` tokens and `across` features are cut."""
    tokens = min(128, max(16, triton.next_power_of_2(rows)))
    programs = triton.cdiv(rows, tokens) * triton.cdiv(across, WIDEST)
    return _launch.parts(programs, summed // WIDEST, device)


def forward(
    x: Tensor,
    values: Tensor,
    index: Tensor,
    head: Header,
    tail: Tail,
    count: int | None = None,
) -> Tensor:
    """Return act(x Wᵀ + bias) + residual.

    Args:
        x: [..., in].
        values: of the packed weight.
        index: of the packed weight, whose codes the kernel reads.
        head: of `index`.
        tail: bias, residual, activation.
        count: parts that each sum is cut into; None decides by the grid.
    """
    flat, outs = _launch.as_rows(x), head.out_features
    rows, ins = flat.shape
    y = x.new_empty((*x.shape[:-1], outs))
    if y.numel() == 0:
        return y
    count = _parts(rows, outs, ins, x.device) if count is None else count
    residual = None if tail.residual is None else tail.residual.contiguous()
    partial = _launch.sheets(count, y.numel(), x.device)
    numbers, constants = _packing(head)
    launched(_forward.launcher)[
        lambda meta: (triton.cdiv(rows, meta["TOKENS"]), triton.cdiv(outs, meta["OUT"]), count)
    ](
        flat,
        values,
        index[head.columns_offset :],
        y,
        partial,
        tail.bias if partial is None else None,
        residual if partial is None else None,
        rows,
        ins,
        outs,
        flat.stride(0),
        **numbers,
        bucket=_launch.row_bucket(rows),
        **constants,
        ACT=tail.act,
        PRECISION=_launch.precision(x, values),
    )
    if partial is not None:
        _launch.add_parts(partial, y, y.numel(), outs, Tail(tail.bias, residual, tail.act))
    return y


def backward(
    grad_y: Tensor, values: Tensor, index: Tensor, head: Header, count: int | None = None
) -> Tensor:
    """Return the gradient of x, dY W; grad_y is [..., out], the rest as in `forward`."""
    flat, ins = _launch.as_rows(grad_y), head.in_features
    rows, outs = flat.shape
    dx = grad_y.new_empty((*grad_y.shape[:-1], ins))
    if dx.numel() == 0:
        return dx
    count = _parts(rows, ins, outs, grad_y.device) if count is None else count
    partial = _launch.sheets(count, dx.numel(), grad_y.device)
    numbers, constants = _packing(head)
    launched(_backward.launcher)[
        lambda meta: (triton.cdiv(rows, meta["TOKENS"]), triton.cdiv(ins, meta["IN"]), count)
    ](
        flat,
        values,
        index[head.columns_offset :],
        dx,
        partial,
        rows,
        ins,
        outs,
        flat.stride(0),
        **numbers,
        bucket=_launch.row_bucket(rows),
        **constants,
        PRECISION=_launch.precision(grad_y, values),
    )
    if partial is not None:
        _launch.add_parts(partial, dx, dx.numel(), ins, Tail())
    return dx


def gradient(
    grad_y: Tensor, x: Tensor, index: Tensor, length: int, head: Header, count: int | None = None
) -> Tensor:
    """Return the gradient of the values ([length]): dYᵀ X at the slots, zeros after them."""
    flat_y, flat_x = _launch.as_rows(grad_y), _launch.as_rows(x)
    rows, outs = flat_y.shape
    ins = flat_x.shape[1]
    dw = grad_y.new_zeros(length)
    if rows == 0:
        return dw
    if count is None:
        programs = triton.cdiv(outs, WIDEST) * triton.cdiv(ins, WIDEST)
        count = _launch.parts(programs, rows // 64, x.device)
    partial = _launch.sheets(count, length, x.device)
    if partial is not None:
        partial.zero_()
    numbers, constants = _packing(head)
    launched(_gradient.launcher)[
        lambda meta: (triton.cdiv(outs, meta["OUT"]), triton.cdiv(ins, meta["IN"]), count)
    ](
        flat_y,
        flat_x,
        index[head.columns_offset :],
        dw,
        partial,
        rows,
        ins,
        outs,
        flat_y.stride(0),
        flat_x.stride(0),
        **numbers,
        slots=length,
        bucket=_launch.row_bucket(rows),
        **constants,
        PRECISION=_launch.precision(grad_y, x),
    )
    if partial is not None:
        _launch.add_parts(partial, dw, length, length, Tail())
    return dw


def nm_linear(  # noqa: PLR0913  the op's arguments
    x: Tensor,
    values: Tensor,
    index: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    scale: Tensor | None = None,
    dense: Tensor | None = None,
    transposed: Tensor | None = None,
    *,
    out_features: int,
    act: str = "none",
) -> Tensor:
    """Return act(x Wᵀ + bias) + residual; the arguments are those of `ops.nm_linear`.

    `dense` is not looked at: the caller decides on it.
    """
    head = beside(index, Header.read)
    return forward(x, values, index, head, Tail(bias, residual, act))


def nm_linear_dx(
    grad_y: Tensor,
    values: Tensor,
    index: Tensor,
    transposed: Tensor | None = None,
    *,
    in_features: int,
) -> Tensor:
    """Return the gradient of x, dY W; the arguments are those of the op."""
    return backward(grad_y, values, index, beside(index, Header.read))


def nm_linear_dw(grad_y: Tensor, x: Tensor, index: Tensor, length: int) -> Tensor:
    """Return the gradient of the values; the arguments are those of the op."""
    return gradient(grad_y, x, index, length, beside(index, Header.read))
