"""The rows format: a weight without some of its rows and columns is a smaller dense matrix.

Order of the values: kept row, kept column ascending. The index lists both. What is zero among them
are fillers: such a slot is a kept position like any other, with a gradient of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from secateur.formats._gather import check_count
from secateur.formats.base import FORMATS, Format, Packed, check_mask, check_weight
from secateur.formats.csr import transposed
from secateur.formats.header import Header, Section, assemble
from secateur.formats.layout import VALUE_PADDING, Layout

# Fillers that the format may cost over the slots; beyond, csr is the better.
_FILLER_LIMIT = 1 / 8


class Kept(NamedTuple):
    """What is left of a weight.

    Attributes:
        rows: int32, ascending.
        columns: int32, ascending.
    """

    rows: Tensor
    columns: Tensor


class Rows(Format):
    """Whole rows and columns removed."""

    name = "rows"
    code = 4

    def fits(self, mask: Tensor) -> str | None:
        """Return why `mask` is not rows and columns removed, or None if it is."""
        check_mask(mask)
        slots, kept = self.slots(mask), int(mask.count_nonzero())
        if slots - kept > _FILLER_LIMIT * slots:
            return f"its rows and columns cross in {slots} places, but it keeps {kept} of them"
        return None

    def slots(self, mask: Tensor) -> int:
        """Return how many value slots `mask` takes; see `Format.slots`."""
        rows, columns = self.pattern(mask)
        return rows * columns

    def pattern(self, mask: Tensor) -> tuple[int, ...]:
        """Return how many rows and how many columns are left."""
        return int(mask.any(1).sum()), int(mask.any(0).sum())

    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the rows and columns that are left; see `Format.pack`. No layout matters to it."""
        check_weight(weight, mask)
        reason = self.fits(mask)
        if reason is not None:
            raise ValueError(f"rows: mask does not fit: {reason}; use the format 'csr'")
        out_features, in_features = mask.shape
        rows, columns = (mask.any(side).nonzero()[:, 0] for side in (1, 0))
        slots = len(rows) * len(columns)
        check_count(slots)
        values = weight.detach().new_zeros(slots + VALUE_PADDING)
        dense = weight.detach().masked_fill(~mask.to(weight.device), 0)
        places = rows.to(weight.device)[:, None], columns.to(weight.device)
        values[:slots] = dense[places].reshape(-1)
        header = Header(
            format=self.code, in_features=in_features, out_features=out_features, nnz=slots
        )
        numbers = {
            "table": np.array([len(rows), len(columns)], "<i4"),
            "rows": rows.cpu().numpy().astype("<i4"),
            "columns": columns.cpu().numpy().astype("<i4"),
        }
        pieces = {name: Section(data, data.nbytes) for name, data in numbers.items()}
        index = assemble(header, pieces).to(weight.device)
        return Packed(self.name, values, index, in_features, out_features)

    def kept(self, header: Header, index: Tensor) -> Kept:
        """Return the rows and columns that are left, as views of `index`."""
        high, wide = header.section(index, "table", torch.int32, 2).tolist()
        return Kept(
            header.section(index, "rows", torch.int32, high),
            header.section(index, "columns", torch.int32, wide),
        )

    def positions(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows, columns) of each value slot; see `Format.positions`."""
        rows, columns = self.kept(Header.read(index), index)
        grid = torch.meshgrid(rows.long(), columns.long(), indexing="ij")
        return grid[0].reshape(-1), grid[1].reshape(-1)

    def transpose(self, index: Tensor) -> Tensor:
        """Return the csr index of the transposed weight; see `Format.transpose`."""
        return transposed(Header.read(index), *self.positions(index)).to(index.device)


ROWS = Rows()
FORMATS.register("rows")(ROWS)
