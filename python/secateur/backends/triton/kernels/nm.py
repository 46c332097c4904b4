# size: a kernel is one function, its arguments and its loop.
"""N kept of every M: loaded as they are packed, spread to a dense tile in registers, multiplied.

Where the values and codes of a row lie is in formats/nm.py: row block, K block, row, k ascending.
A dense tile holds zeros at pruned positions, and inf times zero is NaN; so a tile of sums that is
not finite is added up again, kept weight by kept weight. Finite ones pay one comparison for it.
"""

import triton
import triton.language as tl

from secateur.backends.triton.kernels.act import put


@triton.jit
def code_bytes(slots, BITS: tl.constexpr):
    """Bytes of a row's codes in one K block: whole words of 32 bits."""
    return (slots * BITS + 31) // 32 * 4


@triton.jit
def origin(
    n, k0, outs, ins, value_row, code_row,
    N: tl.constexpr, M: tl.constexpr, BITS: tl.constexpr, K_BLOCK: tl.constexpr,
    ROW_BLOCK: tl.constexpr, TAIL: tl.constexpr,
):  # fmt: skip
    """Return, of rows n at column k0, the first slot, the first byte of codes, the slots left.

    `value_row` and `code_row` are slots and bytes of a whole row; all but n and k0 are of the
    weight. k0 is a multiple of the tile's width, which divides the K block.
    """
    row_block, k_block = n // ROW_BLOCK, k0 // K_BLOCK
    height = tl.minimum(ROW_BLOCK, outs - row_block * ROW_BLOCK)
    local = n - row_block * ROW_BLOCK
    whole: tl.constexpr = K_BLOCK // M * N
    slots = whole
    if TAIL:
        slots = tl.minimum(K_BLOCK, ins - k_block * K_BLOCK) // M * N
    before = (k0 - k_block * K_BLOCK) // M * N
    value = row_block * ROW_BLOCK * value_row + k_block * whole * height + local * slots + before
    code = row_block * ROW_BLOCK * code_row + k_block * code_bytes(whole, BITS) * height
    code += local * code_bytes(slots, BITS) + before * BITS // 8
    return value, code, slots - before


@triton.jit
def codes_of(
    index, code, left, there, N: tl.constexpr, NP: tl.constexpr, BITS: tl.constexpr, G: tl.constexpr
):
    """Return the codes of G groups, [rows, G NP], and which of those places are slots."""
    place = tl.arange(0, G * NP)
    slot = place // NP * N + place % NP
    live = there[:, None] & ((place % NP < N) & (slot < left))[None, :]
    if N == NP:
        per: tl.constexpr = 8 // BITS
        byte_at = tl.arange(0, G * NP // per)
        byte_live = there[:, None] & (byte_at * per < left)[None, :]
        bytes_ = tl.load(index + code[:, None] + byte_at[None, :], mask=byte_live, other=0)
        shift = (tl.arange(0, per) * BITS)[None, None, :]
        found = (bytes_.to(tl.int32)[:, :, None] >> shift) & ((1 << BITS) - 1)
        found = tl.reshape(found, (code.shape[0], G * NP))
    else:  # a group's codes are no power of two: each is fetched by itself
        bit = slot * BITS
        bytes_ = tl.load(index + code[:, None] + (bit // 8)[None, :], mask=live, other=0)
        found = (bytes_.to(tl.int32) >> (bit % 8)[None, :]) & ((1 << BITS) - 1)
    return found, live


@triton.jit
def spread(
    values, index, value, code, left, there,
    N: tl.constexpr, M: tl.constexpr, NP: tl.constexpr, BITS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Return a dense tile [rows, WIDE] of the weight, and where it keeps a weight."""
    ROWS: tl.constexpr = value.shape[0]
    G: tl.constexpr = WIDE // M
    found, live = codes_of(index, code, left, there, N, NP, BITS, G)
    place = tl.arange(0, G * NP)
    slot = place // NP * N + place % NP
    v = tl.load(values + value[:, None] + slot[None, :], mask=live, other=0.0)
    # As whole numbers: a sum of floats would turn bfloat16 into float32 on the way.
    kind: tl.constexpr = values.dtype.element_ty
    whole: tl.constexpr = tl.int32 if kind.primitive_bitwidth == 32 else tl.int16
    bits = tl.reshape(v.to(whole, bitcast=True), (ROWS, G, NP, 1))
    found = tl.reshape(tl.where(live, found, -1), (ROWS, G, NP, 1))
    hit = found == tl.arange(0, M)[None, None, None, :]
    dense = tl.sum(tl.where(hit, bits, 0), axis=2).to(whole)
    keep = tl.sum(hit.to(tl.int32), axis=2)
    dense = tl.reshape(dense, (ROWS, WIDE)).to(kind, bitcast=True)
    return dense, tl.reshape(keep, (ROWS, WIDE)) > 0


@triton.jit
def broken(acc):
    """Return whether any element is infinite or NaN."""
    return tl.max(tl.max(tl.where(acc - acc == 0, 0, 1), 1), 0) > 0


@triton.jit
def forward(
    x,  # [rows, ins]
    values,
    index,  # at its first code
    y,  # [rows, outs]
    partial,
    bias,
    residual,
    rows,
    ins,
    outs,
    x_stride,
    value_row,
    code_row,
    bucket,
    N: tl.constexpr,
    M: tl.constexpr,
    NP: tl.constexpr,  # N, or the next power of two
    BITS: tl.constexpr,
    K_BLOCK: tl.constexpr,
    ROW_BLOCK: tl.constexpr,
    TAIL: tl.constexpr,  # whether the last K block is narrower
    ACT: tl.constexpr,
    PRECISION: tl.constexpr,
    TOKENS: tl.constexpr,
    OUT: tl.constexpr,
    STEP: tl.constexpr,
):
    """Y = x Wᵀ: one tile of tokens and outputs, over the whole sum or one part of it."""
    grid0, grid1 = tl.num_programs(0), tl.num_programs(1)
    at0, at1 = tl.swizzle2d(tl.program_id(0), tl.program_id(1), grid0, grid1, 8)
    row = at0 * TOKENS + tl.arange(0, TOKENS)
    n = at1 * OUT + tl.arange(0, OUT)
    row_there, n_there = row < rows, n < outs
    x_row = x + row.to(tl.int64)[:, None] * x_stride

    share = tl.cdiv(tl.cdiv(ins, STEP), tl.num_programs(2)) * STEP
    from_k = tl.program_id(2) * share
    to_k = tl.minimum(from_k + share, ins)
    acc = tl.zeros((TOKENS, OUT), tl.float32)
    for k0 in range(from_k, to_k, STEP):
        k = k0 + tl.arange(0, STEP)
        a = tl.load(x_row + k[None, :], mask=row_there[:, None] & (k < ins)[None, :], other=0.0)
        value, code, left = origin(
            n, k0, outs, ins, value_row, code_row, N, M, BITS, K_BLOCK, ROW_BLOCK, TAIL
        )
        w, _ = spread(values, index, value, code, left, n_there, N, M, NP, BITS, STEP)
        acc = tl.dot(a, tl.trans(w), acc, input_precision=PRECISION)

    if broken(acc):
        acc = tl.zeros((TOKENS, OUT), tl.float32)
        for k0 in range(from_k, to_k, STEP):
            value, code, left = origin(
                n, k0, outs, ins, value_row, code_row, N, M, BITS, K_BLOCK, ROW_BLOCK, TAIL
            )
            for slot in range(0, tl.minimum(left, STEP // M * N)):
                v = tl.load(values + value + slot, mask=n_there, other=0.0).to(tl.float32)
                byte = tl.load(index + code + slot * BITS // 8, mask=n_there, other=0)
                place = (byte.to(tl.int32) >> (slot * BITS % 8)) & ((1 << BITS) - 1)
                column = (k0 + slot // N * M + place)[None, :]
                there = row_there[:, None] & n_there[None, :]
                a = tl.load(x_row + column, mask=there, other=0.0).to(tl.float32)
                acc += a * v[None, :]

    there = row_there[:, None] & n_there[None, :]
    put(y, partial, acc, row[:, None], n[None, :], there, rows, outs, bias, residual, ACT)


@triton.jit
def backward(
    grad_y,  # [rows, outs]
    values,
    index,
    dx,  # [rows, ins]
    partial,
    rows,
    ins,
    outs,
    grad_stride,
    value_row,
    code_row,
    bucket,
    N: tl.constexpr,
    M: tl.constexpr,
    NP: tl.constexpr,
    BITS: tl.constexpr,
    K_BLOCK: tl.constexpr,
    ROW_BLOCK: tl.constexpr,
    TAIL: tl.constexpr,
    PRECISION: tl.constexpr,
    TOKENS: tl.constexpr,
    IN: tl.constexpr,
    STEP: tl.constexpr,
):
    """DX = dY W: one tile of tokens and inputs; the dense tile is used as it is spread."""
    grid0, grid1 = tl.num_programs(0), tl.num_programs(1)
    at0, at1 = tl.swizzle2d(tl.program_id(0), tl.program_id(1), grid0, grid1, 8)
    row = at0 * TOKENS + tl.arange(0, TOKENS)
    k0 = at1 * IN
    row_there = row < rows
    grad_row = grad_y + row.to(tl.int64)[:, None] * grad_stride

    share = tl.cdiv(tl.cdiv(outs, STEP), tl.num_programs(2)) * STEP
    from_n = tl.program_id(2) * share
    to_n = tl.minimum(from_n + share, outs)
    acc = tl.zeros((TOKENS, IN), tl.float32)
    for n0 in range(from_n, to_n, STEP):
        n = n0 + tl.arange(0, STEP)
        n_there = n < outs
        a = tl.load(grad_row + n[None, :], mask=row_there[:, None] & n_there[None, :], other=0.0)
        value, code, left = origin(
            n, k0, outs, ins, value_row, code_row, N, M, BITS, K_BLOCK, ROW_BLOCK, TAIL
        )
        w, _ = spread(values, index, value, code, left, n_there, N, M, NP, BITS, IN)
        acc = tl.dot(a, w, acc, input_precision=PRECISION)

    if broken(acc):
        acc = tl.zeros((TOKENS, IN), tl.float32)
        for n1 in range(from_n, to_n):
            n = n1 + tl.arange(0, 1)
            value, code, left = origin(
                n, k0, outs, ins, value_row, code_row, N, M, BITS, K_BLOCK, ROW_BLOCK, TAIL
            )
            w, keep = spread(values, index, value, code, left, n < outs, N, M, NP, BITS, IN)
            a = tl.load(grad_row + n1, mask=row_there[:, None], other=0.0).to(tl.float32)
            acc += tl.where(keep, a * w.to(tl.float32), 0.0)

    k = k0 + tl.arange(0, IN)
    there = row_there[:, None] & (k < ins)[None, :]
    put(dx, partial, acc, row[:, None], k[None, :], there, rows, ins, None, None, "none")


@triton.jit
def gradient(
    grad_y,  # [rows, outs]
    x,  # [rows, ins]
    index,
    dw,  # [slots], in the order of the values
    partial,
    rows,
    ins,
    outs,
    grad_stride,
    x_stride,
    value_row,
    code_row,
    slots,
    bucket,
    N: tl.constexpr,
    M: tl.constexpr,
    NP: tl.constexpr,
    BITS: tl.constexpr,
    K_BLOCK: tl.constexpr,
    ROW_BLOCK: tl.constexpr,
    TAIL: tl.constexpr,
    PRECISION: tl.constexpr,
    OUT: tl.constexpr,
    IN: tl.constexpr,
    STEP: tl.constexpr,
):
    """DW at the kept positions of one tile, over all tokens or one part of them."""
    grid0, grid1 = tl.num_programs(0), tl.num_programs(1)
    at0, at1 = tl.swizzle2d(tl.program_id(0), tl.program_id(1), grid0, grid1, 8)
    n, k0 = at0 * OUT + tl.arange(0, OUT), at1 * IN
    k = k0 + tl.arange(0, IN)
    n_there, k_there = n < outs, k < ins

    share = tl.cdiv(tl.cdiv(rows, STEP), tl.num_programs(2)) * STEP
    from_row = tl.program_id(2) * share
    acc = tl.zeros((OUT, IN), tl.float32)
    for row0 in range(from_row, tl.minimum(from_row + share, rows), STEP):
        row = (row0 + tl.arange(0, STEP)).to(tl.int64)
        row_there = row < rows
        grad_at = row[None, :] * grad_stride + n[:, None]
        a = tl.load(grad_y + grad_at, mask=n_there[:, None] & row_there[None, :], other=0.0)
        x_at = row[:, None] * x_stride + k[None, :]
        b = tl.load(x + x_at, mask=row_there[:, None] & k_there[None, :], other=0.0)
        acc = tl.dot(a, b, acc, input_precision=PRECISION)

    G: tl.constexpr = IN // M
    value, code, left = origin(
        n, k0, outs, ins, value_row, code_row, N, M, BITS, K_BLOCK, ROW_BLOCK, TAIL
    )
    found, live = codes_of(index, code, left, n_there, N, NP, BITS, G)
    found = tl.reshape(found, (OUT, G, NP, 1))
    hit = found == tl.arange(0, M)[None, None, None, :]
    picked = tl.sum(tl.where(hit, tl.reshape(acc, (OUT, G, 1, M)), 0.0), axis=3)
    place = tl.arange(0, G * NP)
    slot = value[:, None] + (place // NP * N + place % NP)[None, :]
    picked = tl.reshape(picked, (OUT, G * NP))
    put(dw, partial, picked, 0 * slot, slot, live, 1, slots, None, None, "none")
