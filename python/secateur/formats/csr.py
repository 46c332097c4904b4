"""The csr format: any mask; rows of a block sorted by length, so that a kernel runs equal rows.

Order of the values: row block, K block, row (most kept first, then by number), k ascending.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from secateur.formats.base import FORMATS, Format, Packed, check_mask, check_weight
from secateur.formats.header import Header, Section, assemble
from secateur.formats.layout import Layout, csr_layout, csr_values_length

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]


class Csr(Format):
    """Compressed rows in blocks; fits every mask."""

    name = "csr"
    code = 1

    def fits(self, mask: Tensor) -> str | None:
        """Return None: every mask fits."""
        check_mask(mask)
        return None

    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the kept weights; see `Format.pack`."""
        check_weight(weight, mask)
        out_features, in_features = mask.shape
        layout = layout or csr_layout(int(mask.sum()), out_features, in_features)
        index, kept = _encode(mask.detach().cpu().numpy(), layout)
        length = csr_values_length(len(kept), out_features, in_features)
        values = weight.detach().new_zeros(length)
        places = torch.from_numpy(kept).to(weight.device)
        values[: len(kept)] = weight.detach().reshape(-1)[places]
        return Packed(self.name, values, index.to(weight.device), in_features, out_features)

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


def transposed(header: Header, rows: Tensor, columns: Tensor) -> Tensor:
    """Build the csr index of the transposed weight, its permutation included.

    Args:
        header: of the weight as it stands.
        rows: int64, row of each value slot in use.
        columns: int64, column of each value slot in use.
    """
    out_features, in_features = header.out_features, header.in_features
    at = (columns * out_features + rows).cpu().numpy()
    mask = np.zeros(in_features * out_features, np.bool_)
    slots = np.zeros(in_features * out_features, np.int32)
    mask[at] = True
    slots[at] = np.arange(len(at), dtype=np.int32)

    def permutation(kept: _Ints) -> npt.NDArray[np.int32]:
        # Slot nnz of the values is the first padding zero.
        length = csr_values_length(len(kept), in_features, out_features)
        perm = np.full(length, header.nnz, "<i4")
        perm[: len(kept)] = slots[kept]
        return perm

    layout = csr_layout(header.nnz, in_features, out_features)
    plan = _plan(mask.reshape(in_features, out_features), layout)
    return _assemble(plan, permutation(plan.kept))


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
class _Plan:
    """Pieces of an index, one of each list for every block, in block order."""

    shape: tuple[int, int]
    layout: Layout
    table: list[tuple[int, int, int, int]] = field(default_factory=list)
    rows: list[_Ints] = field(default_factory=list)
    runs: list[_Ints] = field(default_factory=list)
    columns: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    places: list[_Ints] = field(default_factory=list)
    run_limit: int = 0  # runs there can be at most, for any mask of this shape

    @property
    def kept(self) -> _Ints:
        """Flat position (row * in + column) of each value, in value order."""
        return np.concatenate(self.places)


def _encode(mask: _Bools, layout: Layout) -> tuple[Tensor, _Ints]:
    plan = _plan(mask, layout)
    return _assemble(plan, None), plan.kept


def _plan(mask: _Bools, layout: Layout) -> _Plan:
    out_features, in_features = mask.shape
    plan = _Plan((out_features, in_features), layout)
    first_value = first_run = first_row = 0
    for row_start, row_end in layout.row_spans(out_features):
        for k_start, k_end in layout.k_spans(in_features):
            block = mask[row_start:row_end, k_start:k_end]
            lengths = np.count_nonzero(block, axis=1)
            order = np.argsort(-lengths, kind="stable")
            block = block[order]
            row, column = np.nonzero(block)
            shorter, count = np.unique(-lengths, return_counts=True)

            plan.table.append((first_value, first_run, len(count), first_row))
            plan.rows.append(order)
            plan.runs.append(np.stack([-shorter, count], axis=1))
            plan.columns.append(column.astype(np.uint8))
            plan.places.append((order + row_start)[row] * in_features + column + k_start)
            plan.run_limit += min(block.shape[0], block.shape[1] + 1)
            first_value += len(row)
            first_run += len(count)
            first_row += len(order)
    return plan


def _assemble(plan: _Plan, perm: npt.NDArray[np.int32] | None) -> Tensor:
    out_features, in_features = plan.shape
    columns = np.concatenate(plan.columns)
    nnz = len(columns)
    length = csr_values_length(nnz, out_features, in_features)
    if nnz >= 2**31:
        raise ValueError(f"the weight keeps {nnz} values, the limit is 2**31 - 1; split the layer")
    pieces = {
        "table": _section(np.array(plan.table, "<u4")),
        "rows": _section(np.concatenate(plan.rows).astype("<u2")),
        "runs": Section(np.concatenate(plan.runs).astype("<u2"), 4 * plan.run_limit),
        "columns": Section(columns, length),
    }
    if perm is not None:
        pieces["perm"] = _section(perm)
    header = Header(
        format=Csr.code,
        in_features=in_features,
        out_features=out_features,
        nnz=nnz,
        k_block=plan.layout.k_block,
        row_block=plan.layout.row_block,
    )
    return assemble(header, pieces)


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
