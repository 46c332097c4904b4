"""A dense weight under a mask, multiplied without ever being written masked; and its gradient.

The mask is [out, in]: a byte of 0 or 1 for each weight, or a bit, the lowest of a byte first.
"""

import triton
import triton.language as tl

from secateur.backends.triton.kernels.act import put


@triton.jit
def kept(mask, out, in_, there, mask_stride, BITS: tl.constexpr):
    """Return where the mask keeps a weight; `out` and `in_` broadcast against each other."""
    if BITS:
        byte = tl.load(mask + out.to(tl.int64) * mask_stride + in_ // 8, mask=there, other=0)
        found = (byte.to(tl.int32) >> (in_ % 8)) & 1
    else:
        found = tl.load(mask + out.to(tl.int64) * mask_stride + in_, mask=there, other=0)
    return found != 0


@triton.jit
def product(
    x,  # [rows, ins]
    weight,
    mask,
    y,  # [rows, outs]
    partial,
    bias,
    residual,
    rows,
    ins,  # features summed over
    outs,
    x_stride,
    weight_stride,  # between rows of W
    mask_stride,  # in bytes
    bucket,
    TRANSPOSED: tl.constexpr,  # x W, not x Wᵀ
    BITS: tl.constexpr,
    ACT: tl.constexpr,
    PRECISION: tl.constexpr,
    TOKENS: tl.constexpr,
    OUT: tl.constexpr,
    STEP: tl.constexpr,
):
    """One tile of tokens and outputs, over the whole sum or one part of it."""
    grid0, grid1 = tl.num_programs(0), tl.num_programs(1)
    at0, at1 = tl.swizzle2d(tl.program_id(0), tl.program_id(1), grid0, grid1, 8)
    row = at0 * TOKENS + tl.arange(0, TOKENS)
    n = at1 * OUT + tl.arange(0, OUT)
    row_there, n_there = (row < rows)[:, None], (n < outs)[None, :]
    x_row = x + row.to(tl.int64)[:, None] * x_stride

    share = tl.cdiv(tl.cdiv(ins, STEP), tl.num_programs(2)) * STEP
    from_k = tl.program_id(2) * share
    acc = tl.zeros((TOKENS, OUT), tl.float32)
    for k0 in range(from_k, tl.minimum(from_k + share, ins), STEP):
        k = k0 + tl.arange(0, STEP)
        k_there = k < ins
        a = tl.load(x_row + k[None, :], mask=row_there & k_there[None, :], other=0.0)
        out, in_ = (k[:, None], n[None, :]) if TRANSPOSED else (n[None, :], k[:, None])
        there = k_there[:, None] & n_there
        keep = kept(mask, out, in_, there, mask_stride, BITS)
        w = tl.load(weight + out.to(tl.int64) * weight_stride + in_, mask=there, other=0.0)
        # Not a product: what a removed weight is does not matter, be it NaN.
        acc = tl.dot(a, tl.where(keep, w, 0.0), acc, input_precision=PRECISION)

    there = row_there & n_there
    put(y, partial, acc, row[:, None], n[None, :], there, rows, outs, bias, residual, ACT)


@triton.jit
def gradient(
    grad_y,  # [rows, outs]
    x,  # [rows, ins]
    mask,
    dw,  # [outs, ins]
    partial,
    rows,
    outs,
    ins,
    grad_stride,
    x_stride,
    mask_stride,
    bucket,
    BITS: tl.constexpr,
    PRECISION: tl.constexpr,
    OUT: tl.constexpr,
    IN: tl.constexpr,
    STEP: tl.constexpr,
):
    """One tile of the weight's gradient; nothing is multiplied where nothing of it is kept."""
    grid0, grid1 = tl.num_programs(0), tl.num_programs(1)
    at0, at1 = tl.swizzle2d(tl.program_id(0), tl.program_id(1), grid0, grid1, 8)
    n, k = at0 * OUT + tl.arange(0, OUT), at1 * IN + tl.arange(0, IN)
    n_there, k_there = n < outs, k < ins
    there = n_there[:, None] & k_there[None, :]
    keep = kept(mask, n[:, None], k[None, :], there, mask_stride, BITS)

    share = tl.cdiv(tl.cdiv(rows, STEP), tl.num_programs(2)) * STEP
    from_row = tl.program_id(2) * share
    to_row = tl.minimum(from_row + share, rows)
    to_row = tl.where(tl.max(tl.max(keep.to(tl.int32), 1), 0) > 0, to_row, from_row)
    acc = tl.zeros((OUT, IN), tl.float32)
    for row0 in range(from_row, to_row, STEP):
        row = (row0 + tl.arange(0, STEP)).to(tl.int64)
        row_there = row < rows
        grad_at = row[None, :] * grad_stride + n[:, None]
        a = tl.load(grad_y + grad_at, mask=n_there[:, None] & row_there[None, :], other=0.0)
        x_at = row[:, None] * x_stride + k[None, :]
        b = tl.load(x + x_at, mask=row_there[:, None] & k_there[None, :], other=0.0)
        acc = tl.dot(a, b, acc, input_precision=PRECISION)

    acc = tl.where(keep, acc, 0.0)
    put(dw, partial, acc, n[:, None], k[None, :], there, outs, ins, None, None, "none")
