"""bsr_linear on a GPU: forward, dX by the block columns of the same values, dW block by block."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from secateur.backends.beside import beside
from secateur.backends.triton import _launch
from secateur.backends.triton._launch import Tail, launched
from secateur.backends.triton._tune import Tuned, config
from secateur.backends.triton.kernels import bsr
from secateur.formats import Header
from secateur.formats.bsr_index import Strips, bsr_index, bsr_transposed_index

_product = Tuned(
    bsr.product,
    ("TOKENS", "OUT"),
    cores=[
        config(4, 5, TOKENS=16, STEP=64),
        config(4, 5, TOKENS=32, STEP=64),
        config(4, 5, TOKENS=64, STEP=64),
        config(4, 5, TOKENS=64, STEP=32),
        config(8, 5, TOKENS=128, STEP=64),
        config(8, 5, TOKENS=128, STEP=32),
    ],
    exact=[
        config(4, 3, TOKENS=16, STEP=16),
        config(8, 3, TOKENS=32, STEP=16),
        config(8, 3, TOKENS=64, STEP=16),
        config(8, 3, TOKENS=128, STEP=16),
    ],
    key=["ins", "outs", "OUT", "IN", "TRANSPOSED"],
)
_gradient = Tuned(
    bsr.gradient,
    ("R", "C"),
    cores=[
        config(8, 3, STEP=32),
        config(4, 3, STEP=32),
        config(4, 3, STEP=64),
        config(8, 3, STEP=64),
    ],
    exact=[
        config(8, 3, STEP=16),
        config(4, 3, STEP=16),
        config(4, 3, STEP=32),
    ],
    key=["ins", "outs", "R", "C"],
)


def product(  # noqa: PLR0913  what a walk over blocks is made of
    x: Tensor,
    values: Tensor,
    strips: Strips,
    block: tuple[int, int],
    outs: int,
    tail: Tail,
    *,
    transposed: bool = False,
    count: int | None = None,
) -> Tensor:
    """Return act(x Wᵀ + bias) + residual, or x W for the strips of the transpose.

    Args:
        x: [..., features summed over].
        values: of the packed weight.
        strips: of the weight, or of its transpose.
        block: (r, c).
        outs: features of the result.
        tail: bias, residual, activation.
        transposed: whether `strips` are the block columns.
        count: parts that each sum is cut into; None decides by the grid.
    """
    out_side, in_side = block[::-1] if transposed else block
    flat = _launch.as_rows(x)
    rows, ins = flat.shape
    y = x.new_empty((*x.shape[:-1], outs))
    if y.numel() == 0:
        return y
    residual = None if tail.residual is None else tail.residual.contiguous()
    tail = Tail(tail.bias, residual, tail.act)
    if len(strips.across) == 0:  # nothing to walk over
        nothing = torch.zeros((1, y.numel()), dtype=torch.float32, device=x.device)
        _launch.add_parts(nothing, y, y.numel(), outs, tail)
        return y
    strip_count = len(strips.order)
    count = _parts(rows, strips, in_side, x.device) if count is None else count
    partial = _launch.sheets(count, y.numel(), x.device)
    blocks = strips.first, strips.across, strips.start, strips.order
    sizes = rows, ins, outs, flat.stride(0), _launch.row_bucket(rows)
    kernel = launched(_product.launcher)
    kernel[lambda meta: (triton.cdiv(rows, meta["TOKENS"]), strip_count, count)](
        flat,
        values,
        *blocks,
        y,
        partial,
        tail.bias if partial is None else None,
        tail.residual if partial is None else None,
        *sizes,
        OUT=out_side,
        IN=in_side,
        TRANSPOSED=transposed,
        WHOLE=outs % out_side == 0 and ins % in_side == 0,
        ACT=tail.act,
        PRECISION=_launch.precision(x, values),
    )
    if partial is not None:
        _launch.add_parts(partial, y, y.numel(), outs, tail)
    return y


def _parts(rows: int, strips: Strips, side: int, device: torch.device) -> int:
    """Return into how many parts the sums of `rows` tokens over a strip are cut."""
    tokens = min(128, max(16, triton.next_power_of_2(rows)))
    programs = len(strips.order) * triton.cdiv(rows, tokens)
    longest = len(strips.across) * side // len(strips.order)
    return _launch.parts(programs, longest // 64, device)


def gradient(
    grad_y: Tensor,
    x: Tensor,
    strips: Strips,
    block: tuple[int, int],
    length: int,
    count: int | None = None,
) -> Tensor:
    """Return the gradient of the values ([length]): dYᵀ X at the kept blocks, zeros after them.

    Args:
        grad_y: [..., out].
        x: [..., in].
        strips: of the weight.
        block: (r, c).
        length: of the values.
        count: parts that the sum over rows is cut into; None decides by the grid.
    """
    (r, c), flat_y, flat_x = block, _launch.as_rows(grad_y), _launch.as_rows(x)
    rows, outs = flat_y.shape
    dw = grad_y.new_zeros(length)
    blocks = len(strips.across)
    if rows == 0 or blocks == 0:
        return dw
    if count is None:
        count = _launch.parts(blocks, rows // 64, x.device)
    partial = _launch.sheets(count, length, x.device)
    if partial is not None:
        partial.zero_()
    launched(_gradient.launcher)[(blocks, 1, count)](
        flat_y,
        flat_x,
        strips.along,
        strips.across,
        strips.start,
        dw,
        partial,
        rows,
        outs,
        flat_x.shape[1],
        flat_y.stride(0),
        flat_x.stride(0),
        length,
        _launch.row_bucket(rows),
        R=r,
        C=c,
        PRECISION=_launch.precision(grad_y, x),
    )
    if partial is not None:
        _launch.add_parts(partial, dw, length, length, Tail())
    return dw


def bsr_linear(  # noqa: PLR0913  the op's arguments
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
    """Return act(x Wᵀ + bias) + residual; the arguments are those of `ops.bsr_linear`.

    A call that waits for no device: what it reads of `index` it reads once. `dense` and
    `transposed` are not looked at: the caller decides on the one, and the other is of csr.
    """
    head = beside(index, Header.read)
    strips = beside(index, bsr_index)
    return product(x, values, strips, (head.n, head.m), out_features, Tail(bias, residual, act))


def bsr_linear_dx(
    grad_y: Tensor,
    values: Tensor,
    index: Tensor,
    transposed: Tensor | None = None,
    *,
    in_features: int,
) -> Tensor:
    """Return the gradient of x, dY W; the arguments are those of the op."""
    head = beside(index, Header.read)
    strips = beside(index, bsr_transposed_index)
    return product(grad_y, values, strips, (head.n, head.m), in_features, Tail(), transposed=True)


def bsr_linear_dw(grad_y: Tensor, x: Tensor, index: Tensor, length: int) -> Tensor:
    """Return the gradient of the values; the arguments are those of the op."""
    head = beside(index, Header.read)
    return gradient(grad_y, x, beside(index, bsr_index), (head.n, head.m), length)
