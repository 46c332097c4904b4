"""Conversions, by numpy and torch; integer instructions, by Python's own numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tests.support.cuda.isa.base import Given, bits, equal, signed, unsigned

OPEN = {"f16_to_float", "f16_unpack"}  # the payload of a NaN
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16}
NAN16, NAN32 = 0x7FFF, 0x7FFFFFFF  # what cvt makes of every NaN
MANY, FEW = 2048, 24  # cases of 32 lanes: all 65536 halves, or some of each


def given(which: str, gen: torch.Generator) -> Given:
    cases = MANY if which.endswith("16_to_float") else FEW
    words = bits(gen, cases, 32, 3)
    if cases == MANY:
        words[..., 0] = torch.arange(65536).reshape(cases, 32)
    elif which.startswith(tuple(DTYPES)):
        kind = which.partition("_")[0]
        for word in range(2):
            words[1:, :, word] = _near_ties(DTYPES[kind], cases - 1, gen)
        words[0, :16, 0] = _special()
    elif which.startswith("to_"):
        words[0, :16, 0] = _special()
        words[1:9, :, 0] = (torch.randn(8, 32, generator=gen) * 100).view(torch.int32)
        words[9, :, 0] = (torch.arange(-8, 24) * 16 + 0.5).float().view(torch.int32)  # ties
    else:
        words[1, :, 0] = (2 ** torch.arange(32)).to(torch.int32)
        words[2] = 0
    return Given(words, bits(gen, cases, 32, 2))


def _special() -> Tensor:
    values = torch.tensor([0.0, -0.0, 1e-45, 65504, 65519.99, 65520, 1e30, 3.4e38, 127.5, 6e-8])
    odd = (0x7F800000, -0x00800000, 0x7FC00000, 0x7F800001, -1, 0x7F7FFFFF)
    return torch.tensor([*values.view(torch.int32).tolist(), *odd], dtype=torch.int32)


def _near_ties(dtype: torch.dtype, cases: int, gen: torch.Generator) -> Tensor:
    """Return floats that a 16-bit type can hold, half way between two, or near either."""
    held = torch.randint(0, 65536, (cases, 32), generator=gen)
    held = held.to(torch.int32).to(torch.int16).view(dtype).float().view(torch.int32)
    half = 1 << (12 if dtype == torch.float16 else 15)
    off = torch.randint(-1, 2, (cases, 32), generator=gen) + half * torch.randint(
        0, 2, (cases, 32), generator=gen
    )
    return held + off.to(torch.int32)


def judge(which: str, given: Given, after: Tensor) -> None:
    wanted = torch.zeros_like(after)
    kind, _, how = which.partition("_")
    if kind in DTYPES:
        dtype = DTYPES[kind]
        if how == "to_float":
            wanted[..., 0] = _widened(given.words[..., 0], dtype)
            # The payload of a NaN is no business of the ISA's.
            after = _plain_nan(after, 0)
        elif how == "unpack":
            wanted[..., 0] = _widened(given.words[..., 0], dtype)
            wanted[..., 1] = _widened(given.words[..., 0] >> 16, dtype)
            after = _plain_nan(_plain_nan(after, 0), 1)
        else:
            wanted[..., 0] = _narrowed(given.words[..., 0], dtype)
            if how == "pack":
                wanted[..., 0] |= _narrowed(given.words[..., 1], dtype) << 16
    elif which == "to_tf32":
        wanted[..., 0] = _tf32(given.words[..., 0])
    elif which == "to_s8":
        x = given.words[..., 0].contiguous().view(torch.float32)
        rounded = torch.from_numpy(np.rint(x.double().numpy()))
        wanted[..., 0] = rounded.nan_to_num(0).clamp(-128, 127).to(torch.int32)
    else:
        flat = unsigned(given.words).reshape(-1, 3).tolist()
        wanted[..., 0] = signed(torch.tensor([_integer(which, *words) for words in flat])).reshape(
            wanted.shape[:2]
        )
    equal(after, wanted)


def _widened(words: Tensor, dtype: torch.dtype) -> Tensor:
    value = words.to(torch.int16).view(dtype).float()
    return torch.where(value.isnan(), NAN32, value.view(torch.int32))


def _plain_nan(after: Tensor, word: int) -> Tensor:
    value = after[..., word].contiguous().view(torch.float32)
    after = after.clone()
    after[..., word] = torch.where(value.isnan(), NAN32, after[..., word])
    return after


def _narrowed(words: Tensor, dtype: torch.dtype) -> Tensor:
    value = words.contiguous().view(torch.float32)
    bits = value.to(dtype).view(torch.int16).to(torch.int32) & 0xFFFF
    return torch.where(value.isnan(), NAN16, bits)


def _tf32(words: Tensor) -> Tensor:
    """Return floats rounded to 10 bits of fraction, ties away from zero, in exact arithmetic."""
    value = words.contiguous().view(torch.float32)
    _, exponent = np.frexp(value.double().numpy())
    exponent = np.maximum(exponent, -125)  # float's subnormals have no more places than these
    step = np.ldexp(1.0, exponent - 11)
    size = np.floor(np.abs(value.double().numpy()) / step + 0.5) * step
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.copysign(size, value.numpy()).astype(np.float32)
    out = torch.from_numpy(rounded).view(torch.int32)
    out = torch.where(value.isinf(), words, out)
    return torch.where(value.isnan(), NAN32, out)


def _integer(which: str, a: int, b: int, c: int) -> int:
    if which == "byte_perm":
        pool = a.to_bytes(4, "little") + b.to_bytes(4, "little")
        picked = []
        for i in range(4):
            nibble = c >> 4 * i & 15
            byte = pool[nibble & 7]
            picked.append((255 if byte & 128 else 0) if nibble & 8 else byte)
        return int.from_bytes(bytes(picked), "little")
    return {
        "popc": a.bit_count(),
        "popc_wide": a.bit_count() + b.bit_count(),
        "clz": 32 - a.bit_length(),
        "ffs": (a & -a).bit_length(),
    }[which]
