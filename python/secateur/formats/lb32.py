"""The lb32 format ("lane bitmap"): any mask; each lane of a warp owns the bits of its operands.

For 50 to 90 % sparsity and few rows of x: a kernel loads sparse and computes dense.

With M and K the sides of the weight, padded to 16 and 64, a tile is 16 rows and 64 columns, tiles
[M / 16][K / 64]. The masks are [tile][32 lanes] 32-bit words: bit 8 * s + 4 * c + 2 * h8 + e of
lane 4 g + t (g < 8, t < 4) is row g + 8 * h8 and column 16 * s + 8 * c + 2 * t + e of the tile:
the lane's fragments of four m16n8k16, register 2 * c + h8, half e. The values of a tile stand lane
by lane, in the order of the bits; each tile begins at a multiple of 8 values, and a table of
32-bit words, one more than there are tiles, says where.

Read by the lane-bitmap kernel (1 to 64 rows), its scatter path (above 80 %), and `lb32_to_dense`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.formats._gather import check_count
from secateur.formats._lanes import LANES, PART, TILE_ROWS, bits_of, words_of
from secateur.formats.base import FORMATS, Format, Packed, check_weight
from secateur.formats.csr import transposed
from secateur.formats.header import ALIGNMENT, HEADER_BYTES, Header, Section, assemble
from secateur.formats.layout import DEFAULT_LAYOUT, Layout, csr_values_length, round_up

TILE_COLUMNS = 64
VALUE_ALIGNMENT = 8  # values: 16 bytes of two-byte ones


class Lb32(Format):
    """A bit a position, in the order of tensor-core fragments."""

    name = "lb32"
    code = 10

    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the kept weights; see `Format.pack`. No layout matters to it."""
        check_weight(weight, mask)
        out_features, in_features = mask.shape
        nnz = int(mask.count_nonzero())
        check_count(nnz)
        words, sizes, values = [], [], []
        for start in range(0, out_features, PART):
            kept = _in_lanes(mask[start : start + PART].to(weight.device))
            numbers = _in_lanes(weight.detach()[start : start + PART])
            words.append(words_of(kept.view(-1, LANES, 32)))
            sizes.append(kept.sum(1))
            values.append(numbers[kept])
        counts = torch.cat(sizes)
        starts = _starts(counts)
        length = int(starts[-1])
        check_count(length)
        whole = weight.detach().new_zeros(csr_values_length(length, out_features, in_features))
        whole[_slots(starts, counts)] = torch.cat(values)
        pieces = {"table": starts, "columns": torch.cat(words).reshape(-1)}
        arrays = {name: part.cpu().numpy().astype("<u4") for name, part in pieces.items()}
        header = Header.of(self.code, mask.shape, nnz, DEFAULT_LAYOUT, (LANES, LANES))
        sections = {name: Section(array, array.nbytes) for name, array in arrays.items()}
        index = assemble(header, sections).to(weight.device)
        return Packed(self.name, whole, index, in_features, out_features)

    def occupied(self, index: Tensor) -> Tensor:
        """Return which elements of the values are weights; see `Format.occupied`."""
        starts, kept = self._read(index)
        return _slots(starts, kept.sum(1))

    def positions(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows, columns) of each value; see `Format.positions`."""
        _, kept = self._read(index)
        wide = round_up(Header.read(index).in_features, TILE_COLUMNS)
        places = torch.arange(TILE_ROWS * TILE_COLUMNS, device=index.device)
        local = _in_lanes(places.view(TILE_ROWS, TILE_COLUMNS))[0]
        tile, at = kept.nonzero(as_tuple=True)
        across = wide // TILE_COLUMNS
        rows = tile // across * TILE_ROWS + local[at] // TILE_COLUMNS
        return rows, tile % across * TILE_COLUMNS + local[at] % TILE_COLUMNS

    def transpose(self, index: Tensor) -> Tensor:
        """Return the csr index of the transposed weight; see `Format.transpose`."""
        starts, _ = self._read(index)
        places = (self.occupied(index), int(starts[-1]))
        return transposed(Header.read(index), *self.positions(index), places).to(index.device)

    def _read(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return where tiles start, int64 [tiles + 1], and their masks, bool [tiles, 1024]."""
        head = Header.read(index)
        count = tiles(head.out_features, head.in_features)
        starts = head.section(index, "table", torch.int32, count + 1).long()
        words = head.section(index, "columns", torch.int32, count * LANES).long()
        return starts, bits_of(words.view(count, LANES)).view(count, -1)


def tiles(out_features: int, in_features: int) -> int:
    """Return how many tiles a weight has."""
    rows, columns = _padded(out_features, in_features)
    return rows // TILE_ROWS * (columns // TILE_COLUMNS)


def offsets(out_features: int, in_features: int) -> tuple[int, int]:
    """Return the bytes of an index at which the masks and the table begin, by its shape alone."""
    table = round_up(4 * (tiles(out_features, in_features) + 1), ALIGNMENT)
    return HEADER_BYTES + table, HEADER_BYTES


def _padded(out_features: int, in_features: int) -> tuple[int, int]:
    return round_up(out_features, TILE_ROWS), round_up(in_features, TILE_COLUMNS)


def _in_lanes(part: Tensor) -> Tensor:
    """Return rows of a weight, padded to whole tiles, tile by tile: [tiles, 1024]."""
    margins = (0, -part.shape[1] % TILE_COLUMNS, 0, -len(part) % TILE_ROWS)
    part = F.pad(part, margins)
    cut = part.view(len(part) // 16, 2, 8, part.shape[1] // 64, 4, 2, 4, 2)
    return cut.permute(0, 3, 2, 6, 4, 5, 1, 7).reshape(-1, TILE_ROWS * TILE_COLUMNS)


def _starts(counts: Tensor) -> Tensor:
    """Return where each tile's values start, and where the last ones end."""
    room = (counts + VALUE_ALIGNMENT - 1) // VALUE_ALIGNMENT * VALUE_ALIGNMENT
    return F.pad(room.cumsum(0), (1, 0))


def _slots(starts: Tensor, counts: Tensor) -> Tensor:
    """Return the element of each value, tile by tile."""
    before = counts.cumsum(0) - counts
    shift = torch.repeat_interleave(starts[:-1] - before, counts)
    return torch.arange(len(shift), device=counts.device) + shift


FORMATS.register("lb32")(Lb32())
