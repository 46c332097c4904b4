"""The nm format: N kept of every M along a row, M <= 16; no table, one code for each value.

Order of the values: row block, K block, row, k ascending. A group that keeps fewer than N gets
filler slots at its lowest free positions, with value 0: such a slot is a kept position like any
other, with a gradient of its own, and inf in x there gives NaN.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from secateur.formats._gather import (
    Bools,
    Bytes,
    Numbers,
    blocks,
    bools,
    check_count,
    new_values,
    numbers,
)
from secateur.formats.base import FORMATS, Format, Packed, check_mask, check_weight
from secateur.formats.csr import transposed
from secateur.formats.header import Header, Section, assemble
from secateur.formats.layout import DEFAULT_LAYOUT, VALUE_PADDING, Layout

# Preferred first where two patterns need equally many slots.
_GROUP_SIZES = (4, 2, 8, 16, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15)

# Fillers that nm may cost over the kept weights: beyond one in eight, csr (one byte for each
# position instead of a quarter or a half, but no fillers of four bytes) is the smaller.
_FILLER_LIMIT = 1 / 8

_PART = 256  # rows looked at together when a pattern is inferred


class Nm(Format):
    """N kept of M.

    Args:
        n: kept in each group; None infers the pattern from the mask.
        m: size of a group, at most 16.
    """

    name = "nm"
    code = 2

    def __init__(self, n: int | None = None, m: int | None = None) -> None:
        if (n is None) != (m is None):
            raise ValueError(f"give both n and m or neither, got n={n}, m={m}")
        if n is not None and m is not None and not 1 <= n <= m <= 16:
            raise ValueError(f"a pattern N:M needs 1 <= N <= M <= 16, got {n}:{m}")
        self._pattern = None if n is None or m is None else (n, m)

    def fits(self, mask: Tensor) -> str | None:
        """Return why `mask` is not N kept of M, or None if it is."""
        check_mask(mask)
        if self._pattern is None:
            return None if infer_pattern(mask) else "no N:M with M <= 16 describes the mask tightly"
        n, m = self._pattern
        in_features = mask.shape[1]
        if in_features % m:
            return f"{n}:{m} needs in_features divisible by {m}, got {in_features}"
        most = _most_kept(mask, m)
        return (
            None if most <= n else f"{n}:{m} keeps {n} of {m}, but a group of the mask has {most}"
        )

    def slots(self, mask: Tensor) -> int:
        """Return how many value slots a fitting `mask` takes; see `Format.slots`."""
        n, m = self.pattern(mask)
        return mask.numel() // m * n

    def pattern(self, mask: Tensor) -> tuple[int, ...]:
        """Return (N, M)."""
        return self._pattern_for(mask)

    def layout(self, mask: Tensor) -> Layout:
        """Return how `pack` cuts a weight of this `mask` where it is not told."""
        return Layout(nm_k_block(self._pattern_for(mask)[1]), DEFAULT_LAYOUT.row_block)

    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the kept weights; see `Format.pack`."""
        check_weight(weight, mask)
        n, m = self._pattern_for(mask)
        layout = layout or self.layout(mask)
        if layout.k_block % m:
            raise ValueError(f"layout.k_block must be a multiple of M={m}, got {layout.k_block}")

        out_features, in_features = mask.shape
        nnz = out_features * in_features // m * n
        check_count(nnz)
        values, picked = new_values(weight, nnz + VALUE_PADDING)
        codes = _encode(bools(mask), numbers(weight), (n, m), layout, picked)
        header = Header.of(self.code, mask.shape, nnz, layout, (n, m))
        index = assemble(header, {"columns": Section(codes, codes.nbytes)})
        device = weight.device
        return Packed(self.name, values.to(device), index.to(device), in_features, out_features)

    def positions(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows, columns) of each value slot; see `Format.positions`."""
        head = Header.read(index)
        bits = _code_bits(head.m)
        shifts = torch.arange(0, 32, bits, device=index.device)
        row_parts, column_parts, at = [], [], head.columns_offset
        for row_start, row_end in head.layout.row_spans(head.out_features):
            for k_start, k_end in head.layout.k_spans(head.in_features):
                width = (k_end - k_start) // head.m * head.n
                words = -(-width * bits // 32)
                rows = torch.arange(row_start, row_end, device=index.device)
                size = 4 * words * len(rows)
                block = index[at : at + size].view(torch.int32).view(len(rows), words, 1)
                codes = (block >> shifts & (2**bits - 1)).flatten(1)[:, :width]
                group = torch.arange(width, device=index.device) // head.n
                row_parts.append(rows.repeat_interleave(width))
                column_parts.append((k_start + group * head.m + codes).flatten())
                at += size
        return torch.cat(row_parts), torch.cat(column_parts)

    def transpose(self, index: Tensor) -> Tensor:
        """Return the csr index of the transposed weight; see `Format.transpose`."""
        return transposed(Header.read(index), *self.positions(index)).to(index.device)

    def _pattern_for(self, mask: Tensor) -> tuple[int, int]:
        reason = self.fits(mask)
        pattern = self._pattern or infer_pattern(mask)
        if reason is not None or pattern is None:
            raise ValueError(f"nm: mask does not fit: {reason}; use the format 'csr'")
        return pattern


def infer_pattern(mask: Tensor) -> tuple[int, int] | None:
    """Return the N:M that describes `mask` ([out, in], bool) with the fewest slots, as (N, M).

    None where every N:M would spend too much on fillers.
    """
    kept = int(mask.count_nonzero())
    if not kept:
        return None
    best = (1, 1)
    for m in _GROUP_SIZES:
        if mask.shape[1] % m or m > mask.shape[1]:
            continue
        enough = -(-best[0] * m // best[1])  # from here on M is no better
        n = _most_kept(mask, m, enough)
        if n < enough:
            best = (n, m)
    slots = mask.numel() // best[1] * best[0]
    return best if best != (1, 1) and slots - kept <= _FILLER_LIMIT * slots else None


def nm_k_block(m: int) -> int:
    """Columns of a K block: whole groups, and whole 64-column spans where 128 columns allow it."""
    step = math.lcm(m, 64)
    return 128 // step * step if step <= 128 else 128 // m * m


def _most_kept(mask: Tensor, m: int, enough: int = 17) -> int:
    """Most kept in a group of `m`; the search ends at the first part with `enough` or more."""
    most = 0
    array = bools(mask)
    for start in range(0, len(array), _PART):
        part = array[start : start + _PART].view(np.uint8).reshape(-1, m)
        kept = part[:, 0].copy()
        for place in range(1, m):
            kept += part[:, place]
        most = max(most, int(kept.max()))
        if most >= enough:
            break
    return most


def _code_bits(m: int) -> int:
    return 2 if m <= 4 else 4


def _encode(
    mask: Bools, source: Numbers, pattern: tuple[int, int], layout: Layout, picked: Numbers
) -> Bytes:
    """Walk the blocks of `mask`; return their codes. Values go to the start of `picked`.

    Args:
        mask: [out, in], at most N in every group of M.
        source: [out, in], any type.
        pattern: (N, M).
        layout: how to cut them.
        picked: of the source's type, zeros, one for each slot or more.
    """
    n, m = pattern
    codes, value = [], 0
    for cut in blocks(layout, mask.shape):
        block = np.ascontiguousarray(mask[cut])
        height, width = block.shape
        slots = height * (width // m * n)
        gaps = np.count_nonzero(block) < slots
        chosen = _filled(block, n, m) if gaps else block
        places = np.flatnonzero(chosen)
        found = source[cut].reshape(-1)[places]
        if gaps:
            found[~block.reshape(-1)[places]] = 0
        picked[value : value + slots] = found
        value += slots
        codes.append(_pack_codes(_local_codes(height * width, m)[places].reshape(height, -1), m))
    return np.concatenate(codes)


@functools.lru_cache(maxsize=8)
def _local_codes(positions: int, m: int) -> Bytes:
    """Place in its group of each position of a block, whose rows are whole groups."""
    return (np.arange(positions) % m).astype(np.uint8)


def _filled(block: Bools, n: int, m: int) -> Bools:
    """Return `block` with the lowest free positions of each group added, up to N."""
    groups = block.reshape(-1, m)
    missing = n - np.count_nonzero(groups, axis=1)
    free_rank = np.cumsum(~groups, axis=1, dtype=np.uint8)
    filled: Bools = groups | (free_rank <= missing[:, None])
    return filled


def _pack_codes(codes: Bytes, m: int) -> Bytes:
    """Pack codes ([rows, n]) into whole 32-bit words for each row, first code lowest; flat."""
    bits = _code_bits(m)
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % (32 // bits))))
    packed = padded[:, :: 8 // bits].copy()
    for place in range(1, 8 // bits):
        packed |= padded[:, place :: 8 // bits] << np.uint8(place * bits)
    return packed.reshape(-1)


FORMATS.register("nm")(Nm())
