"""2:4 as tensor cores read it: which two of four, compressed halves, padded tiles. No byte order.

The order of the values and of the metadata is each format's own; it says it by two functions.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.formats._gather import Numbers, check_count
from secateur.formats.base import Format, Packed, check_mask, check_weight
from secateur.formats.csr import transposed
from secateur.formats.header import Header, Section, assemble
from secateur.formats.layout import DEFAULT_LAYOUT, VALUE_PADDING, Layout, round_up

# For each mask of a group (bit j: position j is kept) its nibble: index of the first value in bits
# 0 and 1, of the second in bits 2 and 3, the first below the second, as mma.sp requires. A group
# that keeps fewer than two is filled up as torch's converter does it. 0 marks three or four kept.
_NIBBLES = (0xE, 0x8, 0x9, 0x4, 0xE, 0x8, 0x9, 0, 0xE, 0xC, 0xD, 0, 0xE, 0, 0, 0)

_PART = 256  # rows worked on together; whole tiles of every format


class Pairs(Format):
    """Two of every four along a row, zeros where a group keeps fewer.

    The weight is padded with pruned rows and columns to whole tiles; a slot outside of the weight
    is padding and no slot in use. A filler inside of it is a kept position like any other, with a
    gradient of its own, and inf in x there gives NaN.
    """

    row_tile: ClassVar[int] = 32
    column_tile: ClassVar[int] = 64
    nibbles_of_word: ClassVar[int] = 4  # metadata is stored in words of so many groups

    @abstractmethod
    def order_values(self, compressed: Tensor) -> Tensor:
        """Return the elements of [rows, columns / 2], whole tiles, in value order; 1-D."""

    @abstractmethod
    def order_words(self, words: Tensor) -> Tensor:
        """Return the elements of [rows, words], whole tiles, in the order of the metadata; 1-D."""

    def padded(self, out_features: int, in_features: int) -> tuple[int, int]:
        """Return the weight's sides, rounded up to whole tiles."""
        return round_up(out_features, self.row_tile), round_up(in_features, self.column_tile)

    def fits(self, mask: Tensor) -> str | None:
        """Return the first group that keeps three or four, if there is one."""
        check_mask(mask)
        for start in range(0, len(mask), _PART):
            nibbles = _nibbles(mask[start : start + _PART])
            bad = (nibbles == 0).nonzero()
            if len(bad):
                row, group = bad[0].tolist()
                kept = int(mask[start + row, 4 * group : 4 * group + 4].sum())
                return f"row {start + row}, columns {4 * group} to {4 * group + 3} keep {kept} of 4"
        return None

    def slots(self, mask: Tensor) -> int:
        """Return how many value slots a fitting `mask` takes; see `Format.slots`."""
        rows, columns = mask.shape
        slots = rows * (columns // 4) * 2
        if columns % 4:  # of the group that the edge cuts, what lies inside
            nibbles = _nibbles(mask[:, columns // 4 * 4 :])
            slots += int((torch.stack(_pair(nibbles)) < columns % 4).sum())
        return slots

    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the kept weights; see `Format.pack`. No layout matters to it."""
        check_weight(weight, mask)
        reason = self.fits(mask)
        if reason is not None:
            raise ValueError(f"{self.name}: mask does not fit: {reason}; use the format 'csr'")
        out_features, in_features = mask.shape
        rows, columns = self.padded(out_features, in_features)
        check_count(rows * columns // 2)
        values = weight.detach().new_zeros(rows * columns // 2 + VALUE_PADDING)
        words = torch.empty(rows, columns // 4 // self.nibbles_of_word, dtype=torch.int64)
        at = 0
        for start in range(0, rows, _PART):
            end = min(start + _PART, rows)
            margins = (0, columns - in_features, 0, end - min(end, out_features))
            kept = F.pad(mask[start:end].to(weight.device), margins)
            part = F.pad(weight.detach()[start:end], margins).masked_fill(~kept, 0)
            nibbles = _nibbles(kept)
            ordered = self.order_values(_compressed(part, nibbles))
            values[at : at + len(ordered)] = ordered
            at += len(ordered)
            words[start:end] = _words(nibbles, self.nibbles_of_word).cpu()
        metadata = self.order_words(words).numpy().astype(f"<u{self.nibbles_of_word // 2}")
        return self.assembled(values, metadata, (out_features, in_features), self.slots(mask))

    def assembled(
        self, values: Tensor, metadata: Numbers, shape: tuple[int, int], slots: int
    ) -> Packed:
        """Return the packed weight of `shape` whose values and metadata are in order already."""
        header = Header.of(self.code, shape, slots, DEFAULT_LAYOUT, (2, 4))
        index = assemble(header, {"columns": Section(metadata, metadata.nbytes)})
        return Packed(self.name, values, index.to(values.device), shape[1], shape[0])

    def metadata(self, index: Tensor) -> Tensor:
        """Return the metadata words, a view of `index`: int16 or int32, 1-D, in their order."""
        head = Header.read(index)
        rows, columns = self.padded(head.out_features, head.in_features)
        dtype = torch.int16 if self.nibbles_of_word == 4 else torch.int32
        return head.section(index, "columns", dtype, rows * columns // 4 // self.nibbles_of_word)

    def occupied(self, index: Tensor) -> Tensor:
        """Return which elements of the values are inside of the weight; see `Format.occupied`."""
        return self._places(index)[0]

    def positions(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows, columns) of each value slot; see `Format.positions`."""
        return self._places(index)[1:]

    def _places(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return element, row and column of each value slot in use."""
        head = Header.read(index)
        rows, columns = self.decoded(self.metadata(index), (head.out_features, head.in_features))
        used = (rows < head.out_features) & (columns < head.in_features)
        return used.nonzero()[:, 0], rows[used], columns[used]

    def transpose(self, index: Tensor) -> Tensor:
        """Return the csr index of the transposed weight; see `Format.transpose`."""
        head = Header.read(index)
        rows, columns = self.padded(head.out_features, head.in_features)
        places = (self.occupied(index), rows * columns // 2)
        return transposed(head, *self.positions(index), places).to(index.device)

    def decoded(self, metadata: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return row and column of every element of the values but the spare ones, in order.

        Args:
            metadata: integers, the words in their order.
            shape: (out, in) of the weight.
        """
        sides = self.padded(*shape)
        many = self.nibbles_of_word
        grid = (sides[0], sides[1] // 4 // many)
        at = self.order_words(torch.arange(metadata.numel(), device=metadata.device).view(grid))
        words = torch.empty_like(at)
        words[at] = metadata.reshape(-1).long()
        shifts = torch.arange(0, 4 * many, 4, device=metadata.device)
        nibbles = (words.view(*grid, 1) >> shifts & 15).view(sides[0], -1)
        groups = torch.arange(0, sides[1], 4, device=metadata.device)
        columns = torch.stack(_pair(nibbles), dim=2) + groups[:, None]
        rows = torch.arange(sides[0], device=metadata.device)[:, None].expand(-1, sides[1] // 2)
        return self.order_values(rows), self.order_values(columns.view(sides[0], -1))


def _nibbles(mask: Tensor) -> Tensor:
    """Return the nibble of every group of four along a row, int64; a cut group counts as pruned."""
    whole = F.pad(mask, (0, -mask.shape[1] % 4)).view(len(mask), -1, 4)
    bits = (whole * torch.tensor([1, 2, 4, 8], device=mask.device)).sum(2)
    return torch.tensor(_NIBBLES, device=mask.device)[bits]


def _pair(nibbles: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places of the first and the second value in their group."""
    return nibbles & 3, nibbles >> 2


def _compressed(weight: Tensor, nibbles: Tensor) -> Tensor:
    """Return the two values of every group: [rows, columns / 2]."""
    places = torch.stack(_pair(nibbles), dim=2)
    return weight.view(len(weight), -1, 4).gather(2, places).view(len(weight), -1)


def _words(nibbles: Tensor, many: int) -> Tensor:
    """Return words of `many` nibbles, the first lowest: [rows, words], int64."""
    shifts = torch.arange(0, 4 * many, 4, device=nibbles.device)
    return (nibbles.view(len(nibbles), -1, many) << shifts).sum(2)
