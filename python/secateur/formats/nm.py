"""The nm format: N kept of every M along a row, M <= 16; no table, one code for each value.

Order of the values: row block, K block, row, k ascending. A group that keeps fewer than N gets
filler slots at its lowest free positions, with value 0: such a slot is a kept position like any
other, with a gradient of its own, and inf in x there gives NaN.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from secateur.formats.base import FORMATS, Format, Packed, check_mask, check_weight
from secateur.formats.csr import transposed
from secateur.formats.header import Header, Section, assemble
from secateur.formats.layout import DEFAULT_LAYOUT, VALUE_PADDING, Layout

_Ints = npt.NDArray[np.int64]

# Preferred first where two patterns need equally many slots.
_GROUP_SIZES = (4, 2, 8, 16, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15)

# Fillers that nm may cost over the kept weights: beyond one in eight, csr (one byte for each
# position instead of a quarter or a half, but no fillers of four bytes) is the smaller.
_FILLER_LIMIT = 1 / 8


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

    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the kept weights; see `Format.pack`."""
        check_weight(weight, mask)
        n, m = self._pattern_for(mask)
        layout = layout or Layout(nm_k_block(m), DEFAULT_LAYOUT.row_block)
        if layout.k_block % m:
            raise ValueError(f"layout.k_block must be a multiple of M={m}, got {layout.k_block}")

        out_features, in_features = mask.shape
        slots = _slots(mask, n, m)
        words, kept = _encode(slots % in_features % m, slots, (n, m), layout)
        places = torch.from_numpy(kept).to(weight.device)
        values = weight.detach().new_zeros(len(kept) + VALUE_PADDING)
        dense = weight.detach().masked_fill(~mask.to(weight.device), 0)
        values[: len(kept)] = dense.reshape(-1)[places]
        header = Header(
            format=self.code,
            in_features=in_features,
            out_features=out_features,
            nnz=len(kept),
            k_block=layout.k_block,
            row_block=layout.row_block,
            n=n,
            m=m,
        )
        index = assemble(header, {"columns": Section(words, words.nbytes)})
        return Packed(self.name, values, index.to(weight.device), in_features, out_features)

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
    kept = int(mask.sum())
    best: tuple[int, int] | None = None
    for m in _GROUP_SIZES:
        if mask.shape[1] % m or m > mask.shape[1]:
            continue
        n = _most_kept(mask, m)
        if 0 < n < m and (best is None or n * best[1] < best[0] * m):
            best = (n, m)
    if best is None:
        return None
    slots = mask.numel() // best[1] * best[0]
    return best if slots - kept <= _FILLER_LIMIT * slots else None


def nm_k_block(m: int) -> int:
    """Columns of a K block: whole groups, and whole 64-column spans where 128 columns allow it."""
    step = math.lcm(m, 64)
    return 128 // step * step if step <= 128 else 128 // m * m


def _most_kept(mask: Tensor, m: int) -> int:
    return int(mask.reshape(-1, m).sum(1, dtype=torch.uint8).max())


def _code_bits(m: int) -> int:
    return 2 if m <= 4 else 4


def _slots(mask: Tensor, n: int, m: int) -> _Ints:
    """Flat position of every slot, row by row: [out, in / m * n], ascending in each row."""
    groups = mask.detach().cpu().numpy().reshape(-1, m)
    missing = n - np.count_nonzero(groups, axis=1)
    chosen = groups
    if missing.any():
        free_rank = np.cumsum(~groups, axis=1, dtype=np.uint8)
        chosen = groups | (free_rank <= missing[:, None])
    return np.flatnonzero(chosen).reshape(mask.shape[0], -1)


def _encode(
    codes: _Ints, slots: _Ints, pattern: tuple[int, int], layout: Layout
) -> tuple[npt.NDArray[np.uint32], _Ints]:
    """Cut row-major codes and slots into blocks: (packed codes, slots in value order)."""
    n, m = pattern
    bits = _code_bits(m)
    words, places = [], []
    for row_start, row_end in layout.row_spans(len(codes)):
        for k_start, k_end in layout.k_spans(codes.shape[1] // n * m):
            cut = slice(row_start, row_end), slice(k_start // m * n, k_end // m * n)
            words.append(_pack_codes(codes[cut], bits))
            places.append(slots[cut].reshape(-1))
    return np.concatenate(words).astype("<u4"), np.concatenate(places)


def _pack_codes(codes: _Ints, bits: int) -> npt.NDArray[np.uint32]:
    """Pack codes ([rows, n]) into whole 32-bit words for each row, first code lowest; flat."""
    per_word = 32 // bits
    padded = np.pad(codes.astype(np.uint32), ((0, 0), (0, -codes.shape[1] % per_word)))
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    packed: npt.NDArray[np.uint32] = np.bitwise_or.reduce(
        padded.reshape(-1, per_word) << shifts, axis=1
    )
    return packed


FORMATS.register("nm")(Nm())
