# size: a kernel is one function, its arguments and its loop.
"""Dense blocks times many or few rows: y = x Wᵀ, dX = dY W (the same walk), and dW block by block.

A block's values lie column after column: value (k, j) of a block of h rows is at start + k h + j.
"""

import triton
import triton.language as tl

from secateur.backends.triton.kernels.act import put


@triton.jit
def block_of(step, begin, end, ramp, IN: tl.constexpr, STEP: tl.constexpr):
    """Return the block that a step is in; or, for each column of it, where it spans several.

    Past the strip's end it is block 0, which may be read and is not used.
    """
    if STEP <= IN:  # noqa: SIM108  decided when it is compiled
        b = begin + step // (IN // STEP)
    else:
        b = begin + step * (STEP // IN) + ramp // IN
    return tl.where(b < end, b, 0)


@triton.jit
def product(
    x,  # [rows, ins]
    values,
    first,
    across,
    start,
    order,
    y,  # [rows, outs]
    partial,
    bias,
    residual,
    rows,
    ins,  # features summed over
    outs,
    x_stride,
    bucket,  # of rows; only the tuner looks at it
    OUT: tl.constexpr,  # side of a block along the outputs
    IN: tl.constexpr,  # side along the sum
    TRANSPOSED: tl.constexpr,  # strips are columns of W, not rows
    WHOLE: tl.constexpr,  # no block is cut off at an edge
    ACT: tl.constexpr,
    PRECISION: tl.constexpr,
    TOKENS: tl.constexpr,
    STEP: tl.constexpr,  # columns of x multiplied at a time
):
    """One tile of tokens times one strip of blocks, or times one part of that strip."""
    strip = tl.load(order + tl.program_id(1))
    begin, end = tl.load(first + strip), tl.load(first + strip + 1)
    row = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    x_row = x + row.to(tl.int64)[:, None] * x_stride
    row_there = (row < rows)[:, None]
    j = tl.arange(0, OUT)
    j_there = strip * OUT + j < outs
    ramp = tl.arange(0, STEP)
    RUN: tl.constexpr = STEP if STEP < IN else IN

    steps = tl.cdiv((end - begin) * IN, STEP)
    share = tl.cdiv(steps, tl.num_programs(2))
    from_step = tl.program_id(2) * share
    acc = tl.zeros((TOKENS, OUT), tl.float32)
    b = block_of(from_step, begin, end, ramp, IN, STEP)
    place, at = tl.load(across + b), tl.load(start + b)
    for i in range(from_step, tl.minimum(from_step + share, steps)):
        k = i * STEP % IN + ramp if STEP <= IN else ramp % IN
        there = i * STEP + ramp < (end - begin) * IN
        column = place * IN + k
        if WHOLE:
            # What the strips are made of tells the compiler how wide a load may be.
            column = tl.max_contiguous(tl.multiple_of(column, RUN), RUN)
            at = tl.multiple_of(at, 16)
        else:
            there = there & (column < ins)
        a = tl.load(x_row + column[None, :], mask=row_there & there[None, :], other=0.0)
        if TRANSPOSED:
            height = IN if WHOLE else tl.minimum(IN, ins - place * IN)
            if STEP > IN and not WHOLE:
                inside = (at + k)[:, None] + j[None, :] * height[:, None]
            else:
                inside = (at + k)[:, None] + j[None, :] * height
        else:
            height = OUT if WHOLE else tl.minimum(OUT, outs - strip * OUT)
            inside = (at + k * height)[:, None] + j[None, :]
        w = tl.load(values + inside, mask=there[:, None] & j_there[None, :], other=0.0)
        acc = tl.dot(a, w, acc, input_precision=PRECISION)
        # Of the next step, one step ahead: read in the step itself they would stand between the
        # compiler's pipeline and the tiles, and halve its depth.
        b = block_of(i + 1, begin, end, ramp, IN, STEP)
        place, at = tl.load(across + b), tl.load(start + b)

    column = (strip * OUT + j)[None, :]
    there = row_there & j_there[None, :]
    put(y, partial, acc, row[:, None], column, there, rows, outs, bias, residual, ACT)


@triton.jit
def gradient(
    grad_y,  # [rows, outs]
    x,  # [rows, ins]
    along,
    across,
    start,
    dw,  # [slots], in the order of the values
    partial,
    rows,
    outs,
    ins,
    grad_stride,
    x_stride,
    slots,
    bucket,
    R: tl.constexpr,
    C: tl.constexpr,
    PRECISION: tl.constexpr,
    STEP: tl.constexpr,  # tokens multiplied at a time
):
    """The gradient of one block, over all tokens or one part of them."""
    block = tl.program_id(0)
    strip, place, at = tl.load(along + block), tl.load(across + block), tl.load(start + block)
    j, k = tl.arange(0, R), tl.arange(0, C)
    j_there, k_there = strip * R + j < outs, place * C + k < ins
    ramp = tl.arange(0, STEP)

    share = tl.cdiv(tl.cdiv(rows, STEP), tl.num_programs(2)) * STEP
    from_row = tl.program_id(2) * share
    acc = tl.zeros((C, R), tl.float32)
    for row0 in range(from_row, tl.minimum(from_row + share, rows), STEP):
        row = row0 + ramp
        there = row < rows
        x_at = row.to(tl.int64)[None, :] * x_stride + (place * C + k)[:, None]
        a = tl.load(x + x_at, mask=k_there[:, None] & there[None, :], other=0.0)
        grad_at = row.to(tl.int64)[:, None] * grad_stride + (strip * R + j)[None, :]
        b = tl.load(grad_y + grad_at, mask=there[:, None] & j_there[None, :], other=0.0)
        acc = tl.dot(a, b, acc, input_precision=PRECISION)

    height = tl.minimum(R, outs - strip * R)
    slot = (at + k * height)[:, None] + j[None, :]
    there = k_there[:, None] & j_there[None, :]
    put(dw, partial, acc, 0 * slot, slot, there, 1, slots, None, None, "none")
