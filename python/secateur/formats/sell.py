"""The sell format: any mask; eight rows of a block at a time, one weight of each at a step.

For few rows of x at high sparsity. It is sliced ELLPACK with sorted rows, SELL-8-256 (Kreutzer et
al., "A unified sparse matrix data format", 2014), but without padding: a row that has no weight
left is passed over, and since rows are sorted it is the last of its slice.

Order of the values: row block, K block, slice of eight rows (most kept first, then by number), step
by step one weight of each row; k ascending in a row.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from secateur.formats._gather import (
    Bools,
    Ints,
    blocks,
    bools,
    check_count,
    new_values,
    numbers,
)
from secateur.formats.base import FORMATS, Format, Packed, check_weight
from secateur.formats.csr import transposed
from secateur.formats.header import Header, Section, assemble
from secateur.formats.layout import Layout, csr_values_length

_SLICE = 8  # rows
_LAYOUT = Layout(256, 256)


class Sell(Format):
    """Slices of eight rows."""

    name = "sell"
    code = 6

    def layout(self, mask: Tensor) -> Layout:
        """Return how `pack` cuts a weight of this `mask` where it is not told."""
        return _LAYOUT

    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the kept weights; see `Format.pack`."""
        check_weight(weight, mask)
        layout = layout or self.layout(mask)
        out_features, in_features = mask.shape
        nnz = int(mask.count_nonzero())
        check_count(nnz)
        length = csr_values_length(nnz, out_features, in_features)
        values, picked = new_values(weight, length)
        kept, source = bools(mask), numbers(weight)
        columns = np.zeros(nnz, np.uint8)
        table, rows, counts = [], [], []
        first = 0
        for cut in blocks(layout, mask.shape):
            block = kept[cut]
            order, lengths = _sorted_rows(block)
            places = np.flatnonzero(block[order])
            to = first + _slots(lengths)
            columns[to] = places % block.shape[1]
            picked[to] = source[cut][order].reshape(-1)[places]
            table.append(first)
            rows.append(order.astype("<u2"))
            counts.append(lengths.astype("<u2"))
            first += len(places)
        header = Header.of(self.code, mask.shape, nnz, layout)
        pieces = {
            "table": np.array(table, "<u4"),
            "rows": np.concatenate(rows),
            "runs": np.concatenate(counts),
        }
        sections = {name: Section(data, data.nbytes) for name, data in pieces.items()}
        index = assemble(header, {**sections, "columns": Section(columns, length)})
        device = weight.device
        return Packed(self.name, values.to(device), index.to(device), in_features, out_features)

    def positions(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows, columns) of each value; see `Format.positions`."""
        head = Header.read(index)
        columns = head.section(index, "columns", torch.uint8, head.nnz).cpu().numpy()
        found = np.empty((2, head.nnz), np.int64)
        first = 0
        for (row, k), order, lengths in _stored_blocks(head, index):
            to = first + _slots(lengths)
            found[0, to] = row + np.repeat(order, lengths)
            first += len(to)
            found[1, first - len(to) : first] = k
        found[1] += columns
        rows, places = torch.from_numpy(found).to(index.device)
        return rows, places

    def transpose(self, index: Tensor) -> Tensor:
        """Return the csr index of the transposed weight; see `Format.transpose`."""
        return transposed(Header.read(index), *self.positions(index)).to(index.device)


def _sorted_rows(block: Bools) -> tuple[Ints, Ints]:
    """Return the rows of a block, most kept first and stable, and how many each keeps."""
    lengths = np.count_nonzero(block, axis=1)
    order = np.argsort(-lengths, kind="stable")
    return order, lengths[order]


def _slots(lengths: Ints) -> Ints:
    """Return the slot of each kept weight of a block, whose sorted rows keep `lengths`.

    Weights are counted row by row; slots are counted from the block's first.
    """
    before = np.cumsum(lengths) - lengths
    row = np.repeat(np.arange(len(lengths)), lengths)
    step = np.arange(len(row)) - before[row]
    slots: Ints = before[row // _SLICE * _SLICE] + row % _SLICE
    by_slice = np.pad(lengths, (0, -len(lengths) % _SLICE)).reshape(-1, _SLICE)
    for lane in by_slice.T:
        slots += np.minimum(lane[row // _SLICE], step)  # what it has in the steps before
    return slots


def _stored_blocks(head: Header, index: Tensor) -> Iterator[tuple[tuple[int, int], Ints, Ints]]:
    """Yield the corner, the rows and their lengths of every block, in stored order."""
    spans = head.layout.k_spans(head.in_features)
    total = head.out_features * len(spans)
    rows, counts = (
        head.section(index, name, torch.uint16, total).cpu().numpy().astype(np.int64)
        for name in ("rows", "runs")
    )
    at = 0
    for start, end in head.layout.row_spans(head.out_features):
        for k_start, _ in spans:
            here = slice(at, at + end - start)
            yield (start, k_start), rows[here], counts[here]
            at += end - start


FORMATS.register("sell")(Sell())
