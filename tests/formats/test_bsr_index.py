"""Where bsr_index says the blocks lie, against the place of every value."""

from __future__ import annotations

import pytest
import torch

from secateur.formats import FORMATS
from secateur.formats.bsr import Bsr
from secateur.formats.bsr_index import bsr_index, bsr_transposed_index
from secateur.formats.nm import Nm
from tests.support import data

SIZES = [(64, 96), (40, 50), (300, 270), (5, 300)]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("block", [(16, 16), (4, 8), (32, 16)], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_value_lies_where_its_block_says(
    size: tuple[int, int], block: tuple[int, int], transposed: bool
) -> None:
    gen = data.generator()
    mask = data.block_mask(*size, *block, gen)
    mask[: block[0]] = False
    packed = Bsr(*block).pack(data.reals(size, gen), mask)
    strips = (bsr_transposed_index if transposed else bsr_index)(packed.index)
    rows, columns = (each.tolist() for each in FORMATS.get("bsr").positions(packed.index))
    (r, c), seen = block, 0
    along, across, start = (each.tolist() for each in (strips.along, strips.across, strips.start))
    for strip, place, at in zip(along, across, start, strict=True):
        row, column = (place, strip) if transposed else (strip, place)
        height, width = min(r, size[0] - row * r), min(c, size[1] - column * c)
        for slot in range(height * width):
            assert rows[at + slot] == row * r + slot % height
            assert columns[at + slot] == column * c + slot // height
        seen += height * width
    assert seen == len(rows)


def test_strips_are_in_order_and_the_heaviest_comes_first() -> None:
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[16:32, :48], mask[32:48, 48:], mask[48:, 48:] = True, True, True
    packed = Bsr(16, 16).pack(torch.ones(64, 64), mask)
    strips = bsr_index(packed.index)
    assert strips.first.tolist() == [0, 0, 3, 4, 5]
    assert strips.across.tolist() == [0, 1, 2, 3, 3]
    assert strips.order.tolist() == [1, 2, 3, 0]
    assert bsr_transposed_index(packed.index).order.tolist() == [3, 0, 1, 2]
    assert all(each.dtype == torch.int32 for each in strips)


def test_another_format_is_refused() -> None:
    packed = Nm(2, 4).pack(torch.ones(8, 8), data.nm_mask(8, 8, 2, 4, data.generator()))
    with pytest.raises(ValueError, match="bsr"):
        bsr_index(packed.index)
