"""The bitmap format: a bit for every position, the kept weights one after another; any mask.

For few rows of x at 40 to 75 % sparsity, where a byte for each kept weight is too much to read.
Order of the values: row, k ascending, whatever the layout.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from secateur.formats._gather import Bools, Bytes, bools, check_count, new_values, numbers
from secateur.formats.base import FORMATS, Format, Packed, check_weight
from secateur.formats.csr import transposed
from secateur.formats.header import Header, Section, assemble
from secateur.formats.layout import Layout, csr_values_length, round_up

_STEP = 64  # bits of a row are whole steps, so that a kernel reads masks of any vector's width


class Bitmap(Format):
    """A bit a position."""

    name = "bitmap"
    code = 5

    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the kept weights; see `Format.pack`. Of the layout only the row block matters."""
        check_weight(weight, mask)
        layout = layout or self.layout(mask)
        out_features, in_features = mask.shape
        kept = bools(mask)
        before = np.zeros(out_features + 1, np.int64)
        np.cumsum(np.count_nonzero(kept, axis=1), out=before[1:])
        nnz = int(before[-1])
        check_count(nnz)
        values, picked = new_values(weight, csr_values_length(nnz, out_features, in_features))
        source = numbers(weight)
        for start, end in layout.row_spans(out_features):
            picked[before[start] : before[end]] = source[start:end][kept[start:end]]
        header = Header.of(self.code, mask.shape, nnz, layout)
        first, bits = before[:-1].astype("<u4"), _bits(kept)
        pieces = {"rows": Section(first, first.nbytes), "columns": Section(bits, bits.nbytes)}
        index = assemble(header, pieces).to(weight.device)
        device = weight.device
        return Packed(self.name, values.to(device), index, in_features, out_features)

    def positions(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows, columns) of each value; see `Format.positions`."""
        head = Header.read(index)
        wide = round_up(head.in_features, _STEP)
        bits = head.section(index, "columns", torch.uint8, head.out_features * wide // 8)
        places = torch.arange(8, dtype=torch.uint8, device=index.device)
        kept = bits.view(head.out_features, -1, 1) >> places & 1
        rows, columns = kept.view(head.out_features, wide).nonzero(as_tuple=True)
        return rows, columns

    def transpose(self, index: Tensor) -> Tensor:
        """Return the csr index of the transposed weight; see `Format.transpose`."""
        return transposed(Header.read(index), *self.positions(index)).to(index.device)


def _bits(kept: Bools) -> Bytes:
    """Return a bit for each position, lowest first, rows padded to whole steps: [out, bytes]."""
    bits = np.packbits(kept, axis=1, bitorder="little")
    return np.pad(bits, ((0, 0), (0, -bits.shape[1] % (_STEP // 8))))


FORMATS.register("bitmap")(Bitmap())
