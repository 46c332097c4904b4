"""What comes after a sum, for a tile of it in float32: bias, activation, residual."""

import triton
import triton.language as tl


@triton.jit
def activated(x, ACT: tl.constexpr):
    """Return the activation of x; NaN stays NaN, which a maximum of floats would lose."""
    if ACT == "relu":
        x = tl.where(x < 0, 0.0, x)
    elif ACT == "relu6":
        x = tl.where(x < 0, 0.0, tl.where(x > 6, 6.0, x))
    elif ACT == "gelu":
        x = 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))
    elif ACT == "gelu_tanh":
        # (1 + tanh u) / 2 is the logistic function of 2u.
        x = x / (1 + tl.exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)))
    elif ACT == "silu":
        x = x / (1 + tl.exp(-x))
    else:
        tl.static_assert(ACT == "none", "unknown activation")
    return x


@triton.jit
def finished(acc, bias, residual, at, column, there, ACT: tl.constexpr):
    """Return act(acc + bias) + residual.

    `at` are the places in y, `column` the outputs, shaped to broadcast over them; `bias` and
    `residual` may be None.
    """
    if bias is not None:
        acc += tl.load(bias + column, mask=there, other=0.0).to(tl.float32)
    acc = activated(acc, ACT)
    if residual is not None:
        acc += tl.load(residual + at, mask=there, other=0.0).to(tl.float32)
    return acc


@triton.jit
def put(y, partial, acc, row, column, there, rows, columns, bias, residual, ACT: tl.constexpr):
    """Store a tile of sums: to y, finished; or, of one part of a sum, to its sheet of `partial`.

    `row` and `column` broadcast against each other. y is [rows, columns], contiguous; `partial`
    is [parts, rows, columns] in float32, or None.
    """
    at = row.to(tl.int64) * columns + column
    if partial is None:
        acc = finished(acc, bias, residual, at, column, there, ACT)
        tl.store(y + at, acc.to(y.dtype.element_ty), mask=there)
    else:
        sheet = tl.program_id(2).to(tl.int64) * rows * columns
        tl.store(partial + sheet + at, acc, mask=there)


@triton.jit
def add_parts(
    partial,
    y,
    bias,
    residual,
    size,
    columns,
    PARTS: tl.constexpr,
    ACT: tl.constexpr,
    B: tl.constexpr,
):
    """Add the sheets of `partial` ([PARTS, size]), always in one order, and finish the sum."""
    at = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    there = at < size
    acc = tl.zeros((B,), tl.float32)
    for part in range(PARTS):
        acc += tl.load(partial + part * size + at, mask=there, other=0.0)
    acc = finished(acc, bias, residual, at, at % columns, there, ACT)
    tl.store(y + at, acc.to(y.dtype.element_ty), mask=there)
