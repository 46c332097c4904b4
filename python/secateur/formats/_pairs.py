"""2:4 as tensor cores read it: which two of four, compressed halves, padded tiles. No byte order.

The order of the values and of the metadata is each format's own; it says it by two functions.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.formats import _fours, _pairs_ops
from secateur.formats._gather import check_count
from secateur.formats.base import FORMATS, Format, Packed, check_mask, check_numbers, check_weight
from secateur.formats.csr import transposed
from secateur.formats.header import HEADER_BYTES, TAIL_BYTES, Header, frame
from secateur.formats.layout import DEFAULT_LAYOUT, VALUE_PADDING, Layout, round_up

DAMAGED = "meta names a position twice, or in falling order; pack the dense weight again"

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
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
    also: ClassVar[tuple[torch.dtype, ...]] = ()  # dtypes it packs beside the floating ones

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
        kept = _fours.kept(mask)
        if int(kept.max()) <= 2:  # the one wait for a GPU
            return None
        row, group = (kept > 2).nonzero()[0].tolist()
        return (
            f"row {row}, columns {4 * group} to {4 * group + 3} keep {int(kept[row, group])} of 4"
        )

    def slots(self, mask: Tensor) -> int:
        """Return how many value slots a fitting `mask` takes; see `Format.slots`."""
        return _fours.slots(mask.shape, _fours.behind_groups(mask))

    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the kept weights; see `Format.pack`. No layout matters to it."""
        check_weight(weight, mask, self.also)
        return self._packed(weight, mask.to(weight.device))

    def pack_largest(self, weight: Tensor) -> Packed:
        """Prune to the two of largest magnitude in every four along a row, and pack, at once.

        Of equal ones the first are kept, as the pattern 2:4 keeps them; a zero among the largest
        counts as pruned. On a GPU this is one pass over the weight.

        Args:
            weight: [out, in], of the types that `pack` takes.

        Raises:
            TypeError: if the dtype is not one of those.
            ValueError: if it is not 2-D or has an empty side, there is a NaN in it, there are too
                many values, or it has none (device meta).
        """
        check_numbers(weight, self.also)
        if weight.dim() != 2 or 0 in weight.shape:
            raise ValueError(
                f"weight must be [out, in] with neither zero, got {list(weight.shape)}"
            )
        return self._packed(weight, None)

    def _packed(self, weight: Tensor, mask: Tensor | None) -> Packed:
        out_features, in_features = weight.shape
        rows, columns = self.padded(out_features, in_features)
        check_count(rows * columns // 2)
        values, index = _pairs_ops.pack(weight.detach(), mask, self.name)
        return Packed(self.name, values, index, in_features, out_features)

    def blank(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return values and index on the weight's device; spare zeros, header and tail are written.

        Args:
            weight: [out, in].
            mask: bool, of its shape; None: the two largest of every four are kept.
        """
        out_features, in_features = weight.shape
        rows, columns = self.padded(out_features, in_features)
        cut = _fours.behind_groups(weight if mask is None else mask)
        slots = _fours.slots(weight.shape, _fours.largest(cut) if mask is None else cut)
        index = self._frame((out_features, in_features), slots, weight.device)
        values = weight.new_empty(rows * columns // 2 + VALUE_PADDING)
        values[-VALUE_PADDING:] = 0
        return values, index

    def _frame(self, shape: tuple[int, int], slots: int, device: torch.device) -> Tensor:
        """Return the index of a weight of `shape` whose metadata are not written yet."""
        header = Header.of(self.code, shape, slots, DEFAULT_LAYOUT, (2, 4))
        rows, columns = self.padded(*shape)
        return frame(header, {"columns": rows * columns // 8}, device)

    def packed_by_torch(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return values and index: the definition of the op `pairs_pack`."""
        if mask is None:
            self.check_ranked(weight)
            mask = _fours.largest(weight)
        self.check_fits(mask)
        values, index = self.blank(weight, mask)
        bits = weight.view(_BITS[weight.itemsize])  # gather changes a NaN of bfloat16
        (out_features, in_features), at = weight.shape, 0
        rows, columns = self.padded(out_features, in_features)
        words = torch.empty(rows, columns // 4 // self.nibbles_of_word, dtype=torch.int64)
        for start in range(0, rows, _PART):
            end = min(start + _PART, rows)
            margins = (0, columns - in_features, 0, end - min(end, out_features))
            kept = F.pad(mask[start:end], margins)
            part = F.pad(bits[start:end], margins).masked_fill(~kept, 0)
            nibbles = _fours.nibbles_of(kept)
            ordered = self.order_values(_fours.compressed(part, nibbles))
            values[at : at + len(ordered)] = ordered.view(weight.dtype)
            at += len(ordered)
            words[start:end] = _fours.words_of(nibbles, self.nibbles_of_word).cpu()
        metadata = self.order_words(words).numpy().astype(f"<u{self.nibbles_of_word // 2}")
        index[HEADER_BYTES:-TAIL_BYTES] = torch.from_numpy(metadata.view(np.uint8))
        return values, index

    def check_fits(self, mask: Tensor) -> None:
        """Check that no group keeps three or four; looks at all of `mask`.

        Raises:
            ValueError: if one does.
        """
        reason = self.fits(mask)
        if reason is not None:
            raise ValueError(f"{self.name}: mask does not fit: {reason}; use the format 'csr'")

    def check_ranked(self, weight: Tensor) -> None:
        """Check that magnitudes can be ranked; looks at all of `weight`.

        Raises:
            ValueError: if one is NaN.
        """
        nan = weight.isnan().nonzero()
        if len(nan):
            row, column = nan[0].tolist()
            raise ValueError(
                f"{self.name}: weight is NaN at row {row}, column {column}, which has no magnitude "
                "to rank; mend it first, or pack by a mask"
            )

    def metadata(self, index: Tensor) -> Tensor:
        """Return the metadata words, a view of `index`: int16 or int32, 1-D, in their order."""
        head = Header.read(index)
        rows, columns = self.padded(head.out_features, head.in_features)
        dtype = torch.int16 if self.nibbles_of_word == 4 else torch.int32
        return head.section(index, "columns", dtype, rows * columns // 4 // self.nibbles_of_word)

    def unpack(self, values: Tensor, index: Tensor) -> Tensor:
        """Return the dense weight; see `Format.unpack`.

        Raises:
            ValueError: if the two do not belong together, or the metadata are damaged.
        """
        head = Header.read(index)
        rows, columns = self.padded(head.out_features, head.in_features)
        if values.device != index.device:
            raise ValueError(
                f"values and index must be on one device, got {values.device} and {index.device}; "
                "move both"
            )
        if values.dim() != 1 or values.numel() < rows * columns // 2:
            raise ValueError(
                f"values must be 1-D with at least {rows * columns // 2} elements, got "
                f"{list(values.shape)}; pass both tensors of one packed weight"
            )
        if values.requires_grad and torch.is_grad_enabled():
            return self.unpacked_by_torch(values, index)
        shape = (head.out_features, head.in_features)
        return _pairs_ops.unpack(values.detach(), index, shape, self.name)

    def unpacked_by_torch(self, values: Tensor, index: Tensor) -> Tensor:
        """Return the dense weight: the definition of the op `pairs_unpack`, differentiable."""
        return super().unpack(values, index)

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

        Raises:
            ValueError: if a nibble names no two places in rising order.
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
        first, second = _fours.pair(nibbles)
        if bool((first >= second).any()):
            raise ValueError(DAMAGED)
        columns = torch.stack((first, second), dim=2) + groups[:, None]
        rows = torch.arange(sides[0], device=metadata.device)[:, None].expand(-1, sides[1] // 2)
        return self.order_values(rows), self.order_values(columns.view(sides[0], -1))


def packer(format: str) -> Pairs:
    """Return the 2:4 format of this name."""
    found = FORMATS.get(format)
    assert isinstance(found, Pairs)
    return found
