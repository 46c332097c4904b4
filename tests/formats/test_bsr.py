"""The bytes of bsr, read by a slow decoder; scipy's own blocks; block shapes found from a mask."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

from secateur.formats import FORMATS, Header, Layout, Packed
from secateur.formats._blocks import infer_shape
from secateur.formats.bsr import Bsr
from tests.support import data, judge

SHAPES = [(4, 1), (8, 1), (16, 1), (1, 8), (16, 16), (32, 32)]
ODD = [(1, 1), (3, 5), (7, 1), (1, 64), (64, 1), (64, 64), (6, 2)]
SIZES = [(1, 1), (5, 7), (64, 256), (257, 129), (300, 515)]


def decode(packed: Packed) -> Tensor:
    """Follow the byte layout one value at a time."""
    raw = bytes(packed.index.tolist())
    in_features, out_features = struct.unpack_from("<II", raw, 8)
    k_block, row_block, r, c = struct.unpack_from("<HHBB", raw, 20)
    table, _, counts, starts = struct.unpack_from("<IIII", raw, 36)
    dense = torch.zeros(out_features, in_features, dtype=packed.values.dtype)
    value = block = cut = 0
    for r0 in range(0, out_features, row_block):
        for k0 in range(0, in_features, k_block):
            assert struct.unpack_from("<II", raw, table + 8 * cut) == (value, block)
            cut += 1
            for top in range(r0, min(r0 + row_block, out_features), r):
                (count,) = struct.unpack_from("<H", raw, counts)
                counts += 2
                for _ in range(count):
                    left = k0 + raw[starts + block]
                    assert (left - k0) % c == 0
                    block += 1
                    for column in range(left, min(left + c, in_features)):
                        for row in range(top, min(top + r, out_features)):
                            dense[row, column] = packed.values[value]
                            value += 1
    assert value == Header.read(packed.index).nnz
    return dense


@pytest.mark.parametrize("shape", SHAPES + ODD, ids=str)
def test_the_bytes_are_as_the_layout_says(shape: tuple[int, int]) -> None:
    for out, in_ in SIZES:
        gen = data.generator()
        mask, weight = data.block_mask(out, in_, *shape, gen), data.reals((out, in_), gen)
        packed = Bsr(*shape).pack(weight, mask)
        judge.exact(decode(packed), weight.masked_fill(~mask, 0))
        header = Header.read(packed.index)
        assert (header.n, header.m) == shape
        assert header.nnz == int(mask.sum()), "a block at an edge must hold real places only"
        judge.exact(FORMATS.get("bsr").unpack(packed.values, packed.index), decode(packed))


@pytest.mark.parametrize("layout", [Layout(8, 4), Layout(64, 8), Layout(256, 1024)], ids=str)
def test_other_layouts(layout: Layout) -> None:
    gen = data.generator()
    mask, weight = data.block_mask(23, 300, 4, 2, gen), data.reals((23, 300), gen)
    packed = Bsr(4, 2).pack(weight, mask, layout)
    judge.exact(decode(packed), weight.masked_fill(~mask, 0))


@pytest.mark.parametrize("shape", [(4, 1), (8, 8), (2, 4)], ids=str)
def test_scipys_blocks_agree(shape: tuple[int, int]) -> None:
    """In one row block and K block, its blocks are ours, each column after column."""
    gen = data.generator()
    mask, weight = data.block_mask(32, 64, *shape, gen), data.reals((32, 64), gen)
    pruned = weight.masked_fill(~mask, 0)
    theirs = scipy.sparse.bsr_matrix(pruned.numpy(), blocksize=shape)
    packed = Bsr(*shape).pack(weight, mask)
    ours = packed.values[: int(mask.sum())].reshape(-1, shape[1], shape[0]).transpose(1, 2)
    assert np.array_equal(ours.numpy(), theirs.data)


def test_what_a_block_holds_beside_kept_weights_is_zero() -> None:
    mask = torch.zeros(6, 8, dtype=torch.bool)
    mask[1, 2] = mask[5, 7] = True
    packed = Bsr(4, 2).pack(torch.full((6, 8), 5.0), mask)
    rows, columns = FORMATS.get("bsr").positions(packed.index)
    assert rows.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 4, 5]
    assert columns.tolist() == [2, 2, 2, 2, 3, 3, 3, 3, 6, 6, 7, 7]
    assert packed.values[:12].tolist() == [0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]


def test_an_empty_mask_can_be_asked_for_by_shape() -> None:
    mask = torch.zeros(9, 20, dtype=torch.bool)
    packed = Bsr(4, 1).pack(torch.ones(9, 20), mask)
    assert Header.read(packed.index).nnz == 0
    assert not decode(packed).any()
    assert FORMATS.get("bsr").fits(mask) is not None


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("edge", [0, 3])
def test_shapes_are_inferred(shape: tuple[int, int], edge: int) -> None:
    mask = data.block_mask(256 + edge, 256 + edge, *shape, data.generator())
    assert infer_shape(mask) == shape
    assert FORMATS.get("bsr").pattern(mask) == shape


def test_a_few_missing_weights_leave_the_shape() -> None:
    mask = data.block_mask(256, 256, 16, 1, data.generator())
    mask &= torch.rand(mask.shape, generator=data.generator(1)) < 0.97
    assert infer_shape(mask) == (16, 1)
    assert FORMATS.get("bsr").slots(mask) > int(mask.sum())


def test_a_shape_without_fillers_comes_before_larger_blocks_with_a_few() -> None:
    mask = data.random_mask(64, 256, 0.98, data.generator()).repeat_interleave(4, 0)
    assert infer_shape(mask) == (4, 1)
    assert FORMATS.get("bsr").slots(mask) == int(mask.sum())


@pytest.mark.parametrize("density", [0.0, 0.05, 0.5, 0.8])
def test_unstructured_masks_have_no_blocks(density: float) -> None:
    mask = data.random_mask(100, 240, density, data.generator())
    assert infer_shape(mask) is None
    with pytest.raises(ValueError, match="no block shape describes the mask tightly; use the form"):
        FORMATS.get("bsr").pack(mask.float(), mask)


@pytest.mark.parametrize("shape", [(0, 4), (4, 65), (-1, 1), (4, None), (None, 4)])
def test_impossible_shapes_are_refused(shape: tuple[int | None, int | None]) -> None:
    with pytest.raises(ValueError, match=r"needs r and c in \[1, 64\]|give both r and c"):
        Bsr(*shape)


@pytest.mark.parametrize("layout", [Layout(63, 4), Layout(64, 6)], ids=str)
def test_a_layout_must_hold_whole_blocks(layout: Layout) -> None:
    mask = torch.ones(8, 64, dtype=torch.bool)
    with pytest.raises(ValueError, match="bsr 4x2 needs row_block a multiple of 4 and k_block"):
        Bsr(4, 2).pack(mask.float(), mask, layout)


@pytest.mark.parametrize(("at", "wrong"), [(24, 0), (24, 65), (25, 0), (25, 65), (24, 3), (25, 3)])
def test_a_damaged_block_shape_is_refused_without_a_kernel_too(at: int, wrong: int) -> None:
    mask = torch.ones(16, 16, dtype=torch.bool)
    index = Bsr(4, 4).pack(mask.float(), mask).index.clone()
    index[at] = wrong  # 3 divides neither the row block nor the K block
    with pytest.raises(ValueError, match=r"bsr: .*damaged.*pack the weight again"):
        FORMATS.get("bsr").positions(index)


@pytest.mark.parametrize("shape", SHAPES + ODD, ids=str)
@pytest.mark.parametrize("groups", [1, 3])
def test_a_convolution_is_cut_between_blocks_and_groups(
    shape: tuple[int, int], groups: int
) -> None:
    (r, c), bsr = shape, Bsr(*shape)
    for strips, columns in [(1, 9), (3, 20), (10, 300)]:
        out = groups * strips * r
        mask = data.block_mask(out, columns, r, c, data.generator())
        assert bsr.divides(mask, groups)
        layout = bsr.conv_layout(mask, groups)
        assert (layout.row_block % r, layout.k_block % c) == (0, 0)
        assert groups == 1 or strips * r % layout.row_block == 0
        packed = bsr.pack(mask.float(), mask, layout)
        judge.exact(bsr.unpack(packed.values, packed.index), mask.float())
        if strips < 10:
            judge.exact(decode(packed), mask.float())


def test_a_block_with_rows_of_two_groups_cannot_be_cut() -> None:
    mask = data.block_mask(12, 36, 4, 1, data.generator())
    assert not Bsr().divides(mask, 2)
    assert Bsr().divides(mask, 1)
    assert Bsr().conv_layout(mask, 2).row_block == 256
