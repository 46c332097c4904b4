"""Tensor cores: whole matrices put into fragments by the ISA's text, and multiplied in float64.

PTX ISA, "Matrix fragments for mma.m16n8k8 / k16 / k32", and for sparse mma "... .m16n8k16 with
.tf32", ".m16n8k32 with .f16 and .bf16", ".m16n8k64 with .u8 / .s8": rows and columns of a_i and
b_i as given there. Metadata is torch's, by its own converter for CUTLASS, whose kernels hand each
lane the word of its number: 32 rows are two instructions of selectors 0 and 1, int8 has 16 rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.sparse._semi_structured_conversions import (
    sparse_semi_structured_from_dense_cutlass as _from_dense,
)

from tests.support.cuda.isa.base import Given, bits, equal

CASES, LANES = 16, 32
SPECIAL = 3  # cases with infinities and NaN; the rest is finite
EPS = 2.0**-23


@dataclass(frozen=True)
class Kind:
    """An instruction's operands: elements of a register, columns of a when dense."""

    dtype: torch.dtype
    width: int
    k: int


KINDS = {
    "f16": Kind(torch.float16, 2, 16),
    "bf16": Kind(torch.bfloat16, 2, 16),
    "tf32": Kind(torch.float32, 1, 8),
    "s8": Kind(torch.int8, 4, 32),
}
OPEN = {name for k in ("f16", "bf16", "tf32") for name in (k, f"sp_{k}_0", f"sp_{k}_1")}


@dataclass(frozen=True)
class Product:
    """Matrices of each case, float64: c [16, 8], a [16, k], b [k, 8]; kept: of a, bool."""

    c: Tensor
    a: Tensor
    b: Tensor
    kept: Tensor


def parts(which: str) -> tuple[Kind, bool, int]:
    """Return an instruction's operands, whether a is sparse, and the selector."""
    sparse = which.startswith("sp_")
    name, _, selector = which.removeprefix("sp_").partition("_")
    return KINDS[name], sparse, int(selector or 0)


def a_place(kind: Kind, lane: int, i: int) -> tuple[int, int]:
    """Return row and column of a_i, of the packed a where it is sparse."""
    group, thread = lane // 4, lane % 4
    if kind.width == 2:
        row = group if i < 2 or 4 <= i < 6 else group + 8
        return row, thread * 2 + (i & 1) + (0 if i < 4 else 8)
    if kind.width == 1:
        return (group if i in (0, 2) else group + 8), thread + (0 if i < 2 else 4)
    row = group if i < 4 or 8 <= i < 12 else group + 8
    return row, thread * 4 + (i & 3) + (0 if i < 8 else 16)


def b_place(kind: Kind, lane: int, i: int) -> tuple[int, int]:
    """Return row and column of b_i."""
    group, thread = lane // 4, lane % 4
    if kind.width == 2:
        return thread * 2 + (i & 1) + 8 * (i // 2), group
    if kind.width == 1:
        return thread + 4 * i, group
    return thread * 4 + (i & 3) + 16 * (i // 4), group


def d_place(lane: int, i: int) -> tuple[int, int]:
    """Return row and column of c_i and d_i."""
    return lane // 4 + (0 if i < 2 else 8), lane % 4 * 2 + (i & 1)


def given(which: str, gen: torch.Generator) -> Given:
    kind, sparse, selector = parts(which)
    words = bits(gen, CASES, LANES, 13)
    k = kind.k * (2 if sparse else 1)
    products = []
    for case in range(CASES):
        special = case < SPECIAL and not sparse
        b = _random(kind, (k, 8), gen, special)
        if sparse:
            a, packed, meta = _sparse(kind, k, selector, gen)
            words[case, :, 12] = meta
        else:
            a = packed = _random(kind, (16, k), gen, special)
        integer = kind.width == 4
        c = bits(gen, 16, 8) if integer else _random(KINDS["tf32"], (16, 8), gen, special)
        _fill(words[case, :, 0:4], c.view(torch.int32), d_place)
        _fill(words[case, :, 4:8], packed, lambda lane, i: a_place(kind, lane, i))
        _fill(words[case, :, 8 : 12 if sparse else 10], b, lambda lane, i: b_place(kind, lane, i))
        products.append(
            Product(c.double(), _value(kind, a), _value(kind, b), a != 0 if sparse else a == a)
        )
    return Given(words, bits(gen, CASES, LANES, 4), products)


def _random(kind: Kind, shape: tuple[int, ...], gen: torch.Generator, special: bool) -> Tensor:
    """Return random bits, but exponents from 2^-14 to 2^15: of any sign and fraction, no zero."""
    if kind.width == 4:
        return torch.randint(-128, 128, shape, generator=gen).to(torch.int8)
    exponent = torch.randint(-14, 12, shape, generator=gen).double()
    fraction = 1 + torch.rand(shape, generator=gen, dtype=torch.float64)
    sign = torch.randint(0, 2, shape, generator=gen).double() * 2 - 1
    # One unit of tf32's below what a float holds: bits that the instruction must not read.
    made = (sign * fraction * 2**exponent).to(kind.dtype)
    if special:
        odd = torch.tensor([float("inf"), float("-inf"), float("nan"), 0.0], dtype=kind.dtype)
        pick = torch.randint(0, 4, shape, generator=gen)
        made = torch.where(torch.rand(shape, generator=gen) < 0.02, odd[pick], made)
    return made


def _sparse(
    kind: Kind, k: int, selector: int, gen: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a [16, k], its packed form [16, k / 2], and each lane's metadata."""
    rows = 16 if kind.width == 4 else 32
    dense = _random(kind, (rows, k), gen, special=False)
    n, m = (1, 2) if kind.width == 1 else (2, 4)
    order = torch.rand(rows, k // m, m, generator=gen).argsort(2)
    kept = (order < n).reshape(rows, k)
    kept &= torch.rand(rows, k, generator=gen) < 0.9  # and now and then fewer
    dense = torch.where(kept, dense, torch.zeros((), dtype=dense.dtype))
    packed, meta = _from_dense(dense)
    mine = slice(16 * selector, 16 * selector + 16)
    return dense[mine], packed[mine], meta.reshape(-1).view(torch.int32)


def _fill(words: Tensor, matrix: Tensor, place) -> None:  # type: ignore[no-untyped-def]
    """Put a matrix into the registers of all lanes: elements in order, the lowest bits first."""
    size = matrix.element_size()
    elements = torch.empty(LANES, words.shape[1] * 4 // size, dtype=matrix.dtype)
    for lane in range(LANES):
        for i in range(elements.shape[1]):
            elements[lane, i] = matrix[place(lane, i)]
    words.copy_(elements.view(torch.int32))


def _value(kind: Kind, matrix: Tensor) -> Tensor:
    """Return what the tensor core reads: of a float, the upper 19 bits."""
    if kind.width == 1:
        matrix = (matrix.view(torch.int32) & ~0x1FFF).view(torch.float32)
    return matrix.double()


def judge(which: str, given: Given, after: Tensor) -> None:
    kind, _, _ = parts(which)
    assert isinstance(given.truth, list)
    for case, product in enumerate(given.truth):
        d = torch.empty(16, 8, dtype=torch.int32)
        for lane in range(LANES):
            for i in range(4):
                d[d_place(lane, i)] = after[case, lane, i]
        wanted = product.c + product.a @ product.b
        if kind.width == 4:
            equal(d, ((wanted.long() + 2**31) % 2**32 - 2**31).to(torch.int32))
        else:
            _within(d.view(torch.float32).double(), wanted, product, case)


def _within(d: Tensor, wanted: Tensor, product: Product, case: int) -> None:
    """Raise unless products are exact and their sum is one of float32's, in some order."""
    terms = product.a.shape[1] + 1
    size = product.c.abs() + product.a.abs() @ product.b.abs()
    finite = wanted.isfinite()
    wrong = finite & ~((d - wanted).abs() <= (terms + 2) * EPS * size)
    wrong |= ~finite & (d.isnan() != wanted.isnan())
    wrong |= wanted.isinf() & (d != wanted)
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        raise AssertionError(
            f"case {case}: {int(wrong.sum())} of 128 sums leave the bound; first at row {row}, "
            f"column {column}: {float(d[row, column])}, wanted {float(wanted[row, column])}"
        )
