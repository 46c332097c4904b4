"""The n32 format: N KEPT of every 32 along a row, N even; each lane of a warp owns whole groups.

Near to unstructured in what it may keep, and regular for a kernel: no offsets, no scan, no bank
conflicts. On a GPU only; on the CPU such a mask is a csr weight.

With M and K the sides of the weight, padded to 16 and 128, a tile is 16 rows and 128 columns,
tiles [M / 16][K / 128]. Lane 4 g + t (g < 8, t < 4) owns two groups of it: columns 32 * t to
32 * t + 31 of the rows g and g + 8. The masks are [tile][2 rows][32 lanes] 32-bit words, bit j the
group's column j. The values are [tile][2 rows][N / 2][32 lanes][2]: two that follow each other in
a group, k ascending, are one 32-bit word of two-byte values, and a warp reads 32 of them at once.

The columns that a lane owns are not those of its fragment: a kernel reads x in the same order, so
that column 16 * s + 8 * c + 2 * t + e of the eight m16n8k16 is x's 32 * t + 4 * s + 2 * c + e.

A group that keeps fewer than N gets fillers: outside of the weight where it reaches there, then at
its lowest free positions, where a slot is a kept position like any other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.formats._gather import check_count
from secateur.formats._lanes import LANES, PART, TILE_ROWS, bits_of, words_of
from secateur.formats.base import FORMATS, Format, Packed, check_mask, check_weight
from secateur.formats.csr import transposed
from secateur.formats.header import HEADER_BYTES, Header, Section, assemble
from secateur.formats.layout import DEFAULT_LAYOUT, VALUE_PADDING, Layout, round_up

GROUP = 32
TILE_COLUMNS = 128
_FILLER_LIMIT = 1 / 8  # of the slots; beyond, lb32 is the smaller


class N32(Format):
    """N of 32."""

    name = "n32"
    code = 11

    def fits(self, mask: Tensor) -> str | None:
        """Return why `mask` is not N kept of 32, or None if it is."""
        check_mask(mask)
        (n, _), kept = self.pattern(mask), int(mask.count_nonzero())
        if not n or n == GROUP:
            return "no N:32 with N < 32 describes it" if n else "it keeps nothing"
        fillers = self.slots(mask) - kept
        if fillers > _FILLER_LIMIT * (kept + fillers):
            return f"{n}:32 would take {kept + fillers} slots for the {kept} weights it keeps"
        return None

    def pattern(self, mask: Tensor) -> tuple[int, ...]:
        """Return (N, 32): the most kept in a group, rounded up to even."""
        return round_up(int(_counts(mask).max()), 2), GROUP

    def slots(self, mask: Tensor) -> int:
        """Return how many value slots a fitting `mask` takes; see `Format.slots`."""
        n, _ = self.pattern(mask)
        outside = _counts(torch.ones_like(mask[:1]))[0]  # columns of each group that exist
        return int((_counts(mask).maximum((outside - (GROUP - n)).clamp(min=0))).sum())

    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the kept weights; see `Format.pack`. No layout matters to it."""
        check_weight(weight, mask)
        reason = self.fits(mask)
        if reason is not None:
            raise ValueError(f"n32: mask does not fit: {reason}; use the format 'lb32' or 'csr'")
        out_features, in_features = mask.shape
        n, _ = self.pattern(mask)
        rows, columns = _padded(out_features, in_features)
        length = rows * columns // GROUP * n
        check_count(length)
        values = weight.detach().new_zeros(length + VALUE_PADDING)
        words, at = [], 0
        for start in range(0, out_features, PART):
            kept = mask[start : start + PART].to(weight.device)
            chosen = _filled(kept, n)
            numbers = _groups(weight.detach()[start : start + PART].masked_fill(~kept, 0))
            found = numbers.reshape(-1)[chosen.reshape(-1)]
            ordered = _paired(found, chosen, n)
            values[at : at + len(ordered)] = ordered
            at += len(ordered)
            words.append(_in_lanes(words_of(chosen).unsqueeze(-1)).reshape(-1))
        array = torch.cat(words).cpu().numpy().astype("<u4")
        header = Header.of(self.code, mask.shape, self.slots(mask), DEFAULT_LAYOUT, (n, GROUP))
        index = assemble(header, {"columns": Section(array, array.nbytes)}).to(weight.device)
        return Packed(self.name, values, index, in_features, out_features)

    def occupied(self, index: Tensor) -> Tensor:
        """Return which elements of the values are inside of the weight; see `Format.occupied`."""
        return self._places(index)[0]

    def positions(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows, columns) of each value slot; see `Format.positions`."""
        return self._places(index)[1:]

    def transpose(self, index: Tensor) -> Tensor:
        """Return the csr index of the transposed weight; see `Format.transpose`."""
        head = Header.read(index)
        rows, columns = _padded(head.out_features, head.in_features)
        places = (self.occupied(index), rows * columns // GROUP * head.n)
        return transposed(head, *self.positions(index), places).to(index.device)

    def _places(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return element, row and column of each value slot in use."""
        head = Header.read(index)
        rows, columns = _padded(head.out_features, head.in_features)
        groups = torch.arange(rows * columns // GROUP, device=index.device)
        at = _in_lanes(groups.view(rows, columns // GROUP, 1)).reshape(-1)
        words = torch.empty_like(groups)
        words[at] = head.section(index, "columns", torch.int32, len(groups)).long()
        chosen = bits_of(words).view(rows, columns // GROUP, GROUP)
        flat = chosen.reshape(-1).nonzero()[:, 0]
        ordered = _paired(flat, chosen, head.n)
        at_rows, at_columns = ordered // columns, ordered % columns
        used = (at_rows < head.out_features) & (at_columns < head.in_features)
        return used.nonzero()[:, 0], at_rows[used], at_columns[used]


def offsets() -> tuple[int, int]:
    """Return the byte of an index at which the masks begin, and 0, for there is no table."""
    return HEADER_BYTES, 0


def kept(length: int, out_features: int, in_features: int) -> int:
    """Return N, by the length of the values and the shape of the weight alone."""
    rows, columns = _padded(out_features, in_features)
    return (length - VALUE_PADDING) * GROUP // (rows * columns)


def _padded(out_features: int, in_features: int) -> tuple[int, int]:
    return round_up(out_features, TILE_ROWS), round_up(in_features, TILE_COLUMNS)


def _groups(part: Tensor, columns: int = TILE_COLUMNS, rows: int = TILE_ROWS) -> Tensor:
    """Return rows of a weight, padded to whole tiles: [rows, groups, 32]."""
    part = F.pad(part, (0, -part.shape[1] % columns, 0, -len(part) % rows))
    return part.view(len(part), -1, GROUP)


def _counts(mask: Tensor) -> Tensor:
    """Return how many each group keeps: [out, groups]."""
    parts = [_groups(mask[at : at + PART], GROUP, 1).sum(2) for at in range(0, len(mask), PART)]
    return torch.cat(parts)


def _filled(kept: Tensor, n: int) -> Tensor:
    """Return the groups of `kept`, each with exactly `n` positions chosen: [rows, groups, 32]."""
    inside = _groups(torch.ones_like(kept))
    groups = _groups(kept)
    # The first n of a stable sort: kept ones, then those outside of the weight, then the lowest.
    rank = torch.where(groups, 0, torch.where(inside, 2, 1))
    order = rank.argsort(dim=2, stable=True)[..., :n]
    return torch.zeros_like(groups).scatter_(2, order, True)


def _in_lanes(groups: Tensor) -> Tensor:
    """Return [rows, groups, any] tile by tile: [tiles, 2, 32 lanes, any]."""
    rows, across, last = groups.shape
    cut = groups.view(rows // TILE_ROWS, 2, 8, across // 4, 4, last)
    return cut.permute(0, 3, 1, 2, 4, 5).reshape(-1, 2, LANES, last)


def _paired(found: Tensor, chosen: Tensor, n: int) -> Tensor:
    """Return what the chosen positions hold, row by row in `found`, in value order; 1-D."""
    lanes = _in_lanes(found.view(*chosen.shape[:2], n))
    return lanes.view(-1, 2, LANES, n // 2, 2).transpose(2, 3).reshape(-1)


FORMATS.register("n32")(N32())
