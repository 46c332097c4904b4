"""The csr format: any mask; rows of a block sorted by length, so that a kernel runs equal rows.

Order of the values: row block, K block, row (most kept first, then by number), k ascending.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
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
from secateur.formats.base import FORMATS, Format, Packed, check_weight
from secateur.formats.header import Header, Section, assemble
from secateur.formats.layout import (
    Layout,
    conv_layout,
    csr_layout,
    csr_values_length,
    grouped,
)


class Csr(Format):
    """Compressed rows in blocks; fits every mask."""

    name = "csr"
    code = 1

    def layout(self, mask: Tensor) -> Layout:
        """Return how `pack` cuts a weight of this `mask` where it is not told."""
        return csr_layout(int(mask.count_nonzero()), *mask.shape)

    def conv_layout(self, mask: Tensor, groups: int) -> Layout:
        """Return how a convolution's weight is cut; see `Format.conv_layout`."""
        layout = conv_layout(int(mask.count_nonzero()), *mask.shape)
        return grouped(layout, len(mask), groups)

    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the kept weights; see `Format.pack`."""
        check_weight(weight, mask)
        out_features, in_features = mask.shape
        kept = int(mask.count_nonzero())
        check_count(kept)
        layout = layout or self.layout(mask)
        values, picked = new_values(weight, csr_values_length(kept, out_features, in_features))
        pieces = _encode(bools(mask), numbers(weight), layout, picked)
        index = _assemble(pieces, (out_features, in_features), layout)
        device = weight.device
        return Packed(self.name, values.to(device), index.to(device), in_features, out_features)

    def positions(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows, columns) of each value; see `Format.positions`."""
        head = Header.read(index)
        corners, heights = _block_grid(head, index.device)
        entries = head.section(index, "table", torch.uint32, 4 * len(heights)).long().view(-1, 4)
        run_total = int(entries[-1, 1] + entries[-1, 2])
        runs = head.section(index, "runs", torch.uint16, 2 * run_total).long().view(-1, 2)
        local_rows = head.section(index, "rows", torch.uint16, int(heights.sum())).long()
        local_columns = head.section(index, "columns", torch.uint8, head.nnz).long()

        row_corner = torch.repeat_interleave(corners, heights, dim=0)
        kept_in_row = torch.repeat_interleave(runs[:, 0], runs[:, 1])
        rows = torch.repeat_interleave(local_rows + row_corner[:, 0], kept_in_row)
        columns = torch.repeat_interleave(row_corner[:, 1], kept_in_row) + local_columns
        return rows, columns

    def transpose(self, index: Tensor) -> Tensor:
        """Return the csr index of the transposed weight; see `Format.transpose`."""
        return transposed(Header.read(index), *self.positions(index)).to(index.device)


def transposed(
    header: Header, rows: Tensor, columns: Tensor, places: tuple[Tensor, int] | None = None
) -> Tensor:
    """Build the csr index of the transposed weight, its permutation included.

    Args:
        header: of the weight as it stands.
        rows: int64, row of each value slot in use.
        columns: int64, column of each value slot in use.
        places: which elements of `values` those slots are, int64, and one that is padding; None
            where they are the first.
    """
    out_features, in_features = header.out_features, header.in_features
    at = (columns * out_features + rows).cpu().numpy()
    mask = np.zeros(in_features * out_features, np.bool_)
    slots = np.zeros(in_features * out_features, np.int32)
    mask[at] = True
    slots[at] = np.arange(len(at)) if places is None else places[0].cpu().numpy()

    # Slot nnz of the values is the first padding zero where all slots in use come first.
    length = csr_values_length(len(at), in_features, out_features)
    perm = np.full(length, header.nnz if places is None else places[1], "<i4")
    layout = csr_layout(header.nnz, in_features, out_features)
    shape = (in_features, out_features)
    pieces = _encode(mask.reshape(shape), slots.reshape(shape), layout, perm)
    return _assemble(pieces, shape, layout, perm)


def permutation(transposed_index: Tensor) -> Tensor:
    """Return the int32 permutation of a transposed index: values_t = values[permutation].

    Raises:
        ValueError: if the index holds none.
    """
    head = Header.read(transposed_index)
    if not head.perm_offset:
        raise ValueError(
            "transposed must be the result of Format.transpose; this index has no permutation"
        )
    length = csr_values_length(head.nnz, head.out_features, head.in_features)
    return head.section(transposed_index, "perm", torch.int32, length)


@dataclass
class _Pieces:
    """Sections of an index as they grow, block by block.

    Args:
        columns: local column of each value slot in use.
        table: for each block its first value, first run, runs, and first row.
        rows: local rows of each block, most kept first.
        runs: of each block, [runs, 2]: kept in a row, and how many such rows.
        run_limit: runs there can be at most, for any mask of this shape.
    """

    columns: Bytes
    table: list[tuple[int, int, int, int]] = field(default_factory=list)
    rows: list[npt.NDArray[np.uint16]] = field(default_factory=list)
    runs: list[npt.NDArray[np.uint16]] = field(default_factory=list)
    run_limit: int = 0


def _encode(mask: Bools, source: Numbers, layout: Layout, picked: Numbers) -> _Pieces:
    """Walk the blocks of `mask`; what it keeps of `source` goes to the start of `picked`.

    Args:
        mask: [out, in].
        source: [out, in], any type.
        layout: how to cut them.
        picked: of the source's type, as many as are kept or more.
    """
    nnz = int(np.count_nonzero(mask))
    pieces = _Pieces(np.empty(nnz, np.uint8))
    value = run = row = 0
    for cut in blocks(layout, mask.shape):
        block = mask[cut]
        height, width = block.shape
        lengths = np.add.reduce(block.view(np.uint8), axis=1, dtype=np.uint16)
        # Stable, and on 16 bits a radix sort.
        order = np.argsort(np.uint16(width) - lengths, kind="stable")
        places = np.flatnonzero(block[order])
        counts = np.bincount(lengths)
        present = np.flatnonzero(counts)[::-1]

        end = value + len(places)
        pieces.columns[value:end] = _local_columns(height, width)[places]
        picked[value:end] = source[cut][order].reshape(-1)[places]
        pieces.table.append((value, run, len(present), row))
        pieces.rows.append(order.astype("<u2"))
        pieces.runs.append(np.stack([present, counts[present]], axis=1).astype("<u2"))
        pieces.run_limit += min(height, width + 1)
        value, run, row = end, run + len(present), row + height
    return pieces


@functools.lru_cache(maxsize=8)
def _local_columns(height: int, width: int) -> Bytes:
    """Column of each position of a block, row by row."""
    return np.tile(np.arange(width, dtype=np.uint8), height)


def _assemble(
    pieces: _Pieces,
    shape: tuple[int, int],
    layout: Layout,
    perm: npt.NDArray[np.int32] | None = None,
) -> Tensor:
    nnz = len(pieces.columns)
    length = csr_values_length(nnz, *shape)
    sections = {
        "table": _section(np.array(pieces.table, "<u4")),
        "rows": _section(np.concatenate(pieces.rows)),
        "runs": Section(np.concatenate(pieces.runs), 4 * pieces.run_limit),
        "columns": Section(pieces.columns, length),
    }
    if perm is not None:
        sections["perm"] = _section(perm)
    return assemble(Header.of(Csr.code, shape, nnz, layout), sections)


def _section(data: npt.NDArray[np.generic]) -> Section:
    return Section(data, data.nbytes)


def _block_grid(head: Header, device: torch.device) -> tuple[Tensor, Tensor]:
    """Corner (row, column) and height of every block, in block order."""
    row_spans = head.layout.row_spans(head.out_features)
    k_spans = head.layout.k_spans(head.in_features)
    corners = [(row, k) for row, _ in row_spans for k, _ in k_spans]
    heights = [end - start for start, end in row_spans for _ in k_spans]
    return torch.tensor(corners, device=device), torch.tensor(heights, device=device)


FORMATS.register("csr")(Csr())
