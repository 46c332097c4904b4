"""The bsr format: dense blocks of r output rows x c input columns; one byte of index for each.

Order of the values: row block, K block, block row, block column ascending; inside a block column
after column, so that the r weights of one input column lie together. A block at an edge that r or
c does not divide is cut off there and holds only what the weight has. What a kept block holds
beside kept weights are fillers, with value 0: such a slot is a kept position like any other, with a
gradient of its own, and inf in x there gives NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from secateur.formats._blocks import Shape, block_slots, blocks_kept, infer_shape
from secateur.formats._gather import Bools, Ints, bools, check_count
from secateur.formats.base import FORMATS, Format, Packed, check_mask, check_weight
from secateur.formats.csr import transposed
from secateur.formats.header import Header, Section, assemble
from secateur.formats.layout import (
    LENGTH_STEPS,
    Layout,
    conv_layout,
    csr_layout,
    csr_values_length,
    grouped,
    round_up,
)

_LARGEST = 64  # side of a block: sums of one block row stay in registers, a column fits a byte


class Bsr(Format):
    """Blocks of r x c.

    Args:
        r: output rows of a block, at most 64; None infers the shape from the mask.
        c: input columns of a block, at most 64.
    """

    name = "bsr"
    code = 3

    def __init__(self, r: int | None = None, c: int | None = None) -> None:
        if (r is None) != (c is None):
            raise ValueError(f"give both r and c or neither, got r={r}, c={c}")
        if r is not None and c is not None and not (1 <= r <= _LARGEST and 1 <= c <= _LARGEST):
            raise ValueError(f"a block r x c needs r and c in [1, {_LARGEST}], got {r}x{c}")
        self._shape = None if r is None or c is None else (r, c)

    def fits(self, mask: Tensor) -> str | None:
        """Return why no block shape describes `mask`; a shape asked for by name takes any mask."""
        check_mask(mask)
        if self._shape is not None or infer_shape(mask) is not None:
            return None
        return "no block shape describes the mask tightly"

    def slots(self, mask: Tensor) -> int:
        """Return how many value slots a fitting `mask` takes; see `Format.slots`."""
        shape = self._shape_for(mask)
        return block_slots(blocks_kept(bools(mask), shape), shape, tuple(mask.shape))

    def pattern(self, mask: Tensor) -> tuple[int, ...]:
        """Return (r, c)."""
        return self._shape_for(mask)

    def divides(self, mask: Tensor, groups: int) -> bool:
        """Tell whether no block has rows of two groups; see `Format.divides`."""
        return groups == 1 or len(mask) // groups % self._shape_for(mask)[0] == 0

    def conv_layout(self, mask: Tensor, groups: int) -> Layout:
        """Return how a convolution's weight is cut; see `Format.conv_layout`.

        Row blocks and K blocks are whole blocks. Where a block has rows of two groups there is no
        such row block, and the weight is cut as if there were no groups.
        """
        r, c = self._shape_for(mask)
        layout = conv_layout(int(mask.count_nonzero()), *mask.shape)
        k_block, strips = layout.k_block // c * c, layout.row_block // r
        if groups > 1 and self.divides(mask, groups):
            strips = grouped(Layout(k_block, strips), len(mask) // r, groups).row_block
        return Layout(k_block, strips * r)

    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the blocks that keep a weight; see `Format.pack`."""
        check_weight(weight, mask)
        out_features, in_features = mask.shape
        r, c = shape = self._shape_for(mask)
        blocks = blocks_kept(bools(mask), shape)
        slots = block_slots(blocks, shape, (out_features, in_features))
        check_count(slots)
        layout = layout or bsr_layout(slots, (out_features, in_features), shape)
        if layout.k_block % c or layout.row_block % r:
            raise ValueError(
                f"layout: bsr {r}x{c} needs row_block a multiple of {r} and k_block of {c}, got "
                f"{layout.row_block} and {layout.k_block}"
            )
        header = Header.of(self.code, mask.shape, slots, layout, shape)
        grid = _grid(blocks, header)
        rows, columns = _places(grid, header)
        places = torch.from_numpy(rows * in_features + columns).to(weight.device)
        values = weight.detach().new_zeros(csr_values_length(slots, out_features, in_features))
        dense = weight.detach().masked_fill(~mask.to(weight.device), 0)
        values[:slots] = dense.reshape(-1)[places]
        index = _index(grid, blocks.size, header)
        return Packed(self.name, values, index.to(weight.device), in_features, out_features)

    def positions(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows, columns) of each value slot; see `Format.positions`."""
        head = Header.read(index)
        rows, columns = _places(read_grid(head, index), head)
        return torch.from_numpy(rows).to(index.device), torch.from_numpy(columns).to(index.device)

    def transpose(self, index: Tensor) -> Tensor:
        """Return the csr index of the transposed weight; see `Format.transpose`."""
        return transposed(Header.read(index), *self.positions(index)).to(index.device)

    def _shape_for(self, mask: Tensor) -> Shape:
        shape = self._shape or infer_shape(mask)
        if shape is None:
            raise ValueError(f"bsr: mask does not fit: {self.fits(mask)}; use the format 'csr'")
        return shape


def bsr_layout(slots: int, size: tuple[int, int], shape: Shape) -> Layout:
    """Return the layout of a weight of `size` (out, in): csr's, cut to whole blocks of `shape`."""
    r, c = shape
    # A single row has few blocks in a K block, and each K block costs it a trip through a loop.
    layout = Layout(256) if r == 1 else csr_layout(slots, *size)
    return Layout(layout.k_block // c * c, layout.row_block // r * r)


@dataclass
class _Grid:
    """The kept blocks in value order: their place in the grid of blocks."""

    rows: Ints
    columns: Ints


def _grid(blocks: Bools, head: Header) -> _Grid:
    rows, columns = np.nonzero(blocks)
    high, wide = head.row_block // head.n, head.k_block // head.m
    per_row = -(-head.in_features // head.k_block)
    order = np.argsort(rows // high * per_row + columns // wide, kind="stable")
    return _Grid(rows[order], columns[order])


def _places(grid: _Grid, head: Header) -> tuple[Ints, Ints]:
    """Row and column of every slot, in value order."""
    r, c = head.n, head.m
    rows = (grid.rows * r)[:, None, None] + np.arange(r)
    columns = (grid.columns * c)[:, None, None] + np.arange(c)[:, None]
    rows, columns = np.broadcast_arrays(rows, columns)
    if head.out_features % r == 0 and head.in_features % c == 0:
        return rows.reshape(-1), columns.reshape(-1)
    there = (rows < head.out_features) & (columns < head.in_features)
    return rows[there], columns[there]


def _counters(head: Header) -> tuple[Ints, Ints]:
    """For each (row block, K block), its block rows and those before it."""
    per_row = -(-head.in_features // head.k_block)
    heights = [-(-(end - at) // head.n) for at, end in head.layout.row_spans(head.out_features)]
    high = np.repeat(np.array(heights, np.int64), per_row)
    return high, np.cumsum(high) - high


def _index(grid: _Grid, blocks_in_all: int, head: Header) -> Tensor:
    r, c = head.n, head.m
    wide, per_row = head.k_block // c, -(-head.in_features // head.k_block)
    high = head.row_block // r
    cut = grid.rows // high * per_row + grid.columns // wide
    rows_in_cut, first_counter = _counters(head)
    counts = np.bincount(first_counter[cut] + grid.rows % high, minlength=int(rows_in_cut.sum()))

    heights = np.minimum(head.out_features - grid.rows * r, r)
    sizes = heights * np.minimum(head.in_features - grid.columns * c, c)
    in_cut = np.bincount(cut, minlength=len(rows_in_cut))
    values_in_cut = np.bincount(cut, weights=sizes, minlength=len(rows_in_cut)).astype(np.int64)
    first = [np.cumsum(each) - each for each in (values_in_cut, in_cut)]
    table = np.stack(first, axis=1).astype("<u4")
    starts = (grid.columns % wide * c).astype(np.uint8)
    step = -(-blocks_in_all // LENGTH_STEPS)
    pieces = {
        "table": Section(table, table.nbytes),
        "runs": Section(counts.astype("<u2"), 2 * len(counts)),
        "columns": Section(starts, round_up(len(starts), step)),
    }
    return assemble(head, pieces)


def _blocked(head: Header) -> bool:
    """Tell whether the blocks that `head` names can be, and divide its cuts."""
    possible = 1 <= head.n <= _LARGEST and 1 <= head.m <= _LARGEST
    return possible and head.row_block % head.n == 0 and head.k_block % head.m == 0


def read_grid(head: Header, index: Tensor) -> _Grid:
    """Read the places of the kept blocks from an index.

    Raises:
        ValueError: if its blocks cannot be, or do not divide its cuts.
    """
    if not _blocked(head):
        raise ValueError(
            f"bsr: the header of index is damaged, it names blocks of {head.n} x {head.m} in cuts "
            f"of {head.row_block} x {head.k_block}; pack the weight again"
        )
    per_row = -(-head.in_features // head.k_block)
    rows_in_cut, first_counter = _counters(head)
    total = int(rows_in_cut.sum())
    section = head.section(index, "runs", torch.uint16, total)
    counts = section.cpu().numpy().astype(np.int64)
    cut = np.repeat(np.arange(len(rows_in_cut)), rows_in_cut)
    local = np.arange(total) - first_counter[cut]
    block_row = cut // per_row * (head.row_block // head.n) + local
    starts = head.section(index, "columns", torch.uint8, int(counts.sum())).cpu().numpy()
    first_column = np.repeat(cut % per_row * (head.k_block // head.m), counts)
    return _Grid(np.repeat(block_row, counts), first_column + starts // head.m)


FORMATS.register("bsr")(Bsr())
