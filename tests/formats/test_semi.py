"""2:4 for tensor cores: torch's own converter, and the closed forms of the PTX ISA, as oracles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.sparse import SparseSemiStructuredTensorCUTLASS
from torch.sparse._semi_structured_conversions import (
    sparse_semi_structured_from_dense_cutlass,
    sparse_semi_structured_to_dense_cutlass,
)

from secateur.formats import FORMATS, Header
from secateur.formats._pairs import Pairs
from secateur.formats.semi import SEMI
from tests.support import data, judge

HALVES = [torch.float16, torch.bfloat16]
# On a tile, and off it by one and by half on either side.
SHAPES = [
    (32, 64),
    (64, 128),
    (160, 192),
    (31, 60),
    (33, 68),
    (48, 96),
    (1, 4),
    (7, 13),
    (257, 250),
]
NAMES = ["semi", "semi8", "semi_frag"]


def pairs(name: str) -> Pairs:
    found = FORMATS.get(name)
    assert isinstance(found, Pairs)
    return found


def two_of_four(shape: tuple[int, int], seed: int = 0) -> Tensor:
    """A mask that keeps 0, 1 or 2 of every four, each in every way."""
    gen = data.generator(seed)
    wide = -(-shape[1] // 4) * 4
    order = torch.rand(shape[0], wide // 4, 4, generator=gen).argsort(2)
    most = torch.randint(0, 3, (shape[0], wide // 4, 1), generator=gen)
    return (order < most).reshape(shape[0], wide)[:, : shape[1]]


def padded(weight: Tensor, mask: Tensor, fmt: Pairs) -> Tensor:
    rows, columns = fmt.padded(*weight.shape)
    whole = weight.new_zeros(rows, columns)
    whole[: weight.shape[0], : weight.shape[1]] = weight.masked_fill(~mask, 0)
    return whole


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_torchs_converter_makes_the_same_bits(shape: tuple[int, int], dtype: torch.dtype) -> None:
    mask = two_of_four(shape)
    weight = data.reals(shape, data.generator(1), dtype)
    packed = SEMI.pack(weight, mask)
    values, meta = sparse_semi_structured_from_dense_cutlass(padded(weight, mask, SEMI))
    ours, ours_meta = SEMI.to_torch(packed)
    judge.exact(ours, values)
    judge.exact(ours_meta, meta)
    judge.exact(
        sparse_semi_structured_to_dense_cutlass(ours, ours_meta), padded(weight, mask, SEMI)
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_torchs_converter_makes_the_same_bits_of_int8(shape: tuple[int, int]) -> None:
    fmt, mask = pairs("semi8"), two_of_four(shape)
    weight = torch.randint(1, 127, shape, generator=data.generator(1))
    packed = fmt.pack(weight.float(), mask)
    whole = padded(weight.to(torch.int8), mask, fmt)
    values, meta = sparse_semi_structured_from_dense_cutlass(whole)
    ours, ours_meta = fmt.to_torch(packed)  # type: ignore[attr-defined]
    judge.exact(ours.to(torch.int8), values)
    judge.exact(ours_meta, meta)


@pytest.mark.filterwarnings("ignore:The PyTorch API of SparseSemiStructuredTensor")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_torchs_buffers_come_in_and_go_out(shape: tuple[int, int]) -> None:
    mask, weight = two_of_four(shape), data.reals(shape, data.generator(1), torch.float16)
    whole = padded(weight, mask, SEMI)
    theirs = SparseSemiStructuredTensorCUTLASS(
        whole.shape, *sparse_semi_structured_from_dense_cutlass(whole), None, None, None
    )
    packed = SEMI.from_torch(theirs.packed, theirs.meta, shape)
    judge.exact(SEMI.unpack(packed.values, packed.index), weight.masked_fill(~mask, 0))
    again = SEMI.pack(weight, mask)
    judge.exact(packed.values, again.values)
    judge.exact(packed.index, again.index)
    values, meta = SEMI.to_torch(packed)
    judge.exact(values, theirs.packed)
    judge.exact(meta, theirs.meta)
    assert values.data_ptr() == packed.values.data_ptr()
    assert meta.data_ptr() == packed.index.data_ptr() + Header.read(packed.index).columns_offset


def test_damaged_metadata_are_refused() -> None:
    weight = data.reals((32, 64), data.generator(), torch.float16)
    values, meta = SEMI.to_torch(SEMI.pack(weight, two_of_four((32, 64))))
    for nibbles in (0x0000, 0x5555, 0x1111, -1):  # a position twice, or in falling order
        bad = meta.clone()
        bad[3, 1] = nibbles
        with pytest.raises(ValueError, match="meta names a position twice, or in falling order"):
            SEMI.from_torch(values, bad, (32, 64))
    with pytest.raises(TypeError, match="meta must be int16"):
        SEMI.from_torch(values, meta.int(), (32, 64))
    with pytest.raises(ValueError, match=r"must be \[64, 32\] and \[64, 4\]"):
        SEMI.from_torch(values, meta, (33, 64))
    with pytest.raises(ValueError, match="weights outside"):
        SEMI.from_torch(values, meta, (31, 64))


@pytest.mark.parametrize("name", NAMES)
def test_three_of_four_is_refused_and_none_dropped(name: str) -> None:
    mask = two_of_four((40, 72))
    mask[37, 40:44] = torch.tensor([True, False, True, True])
    with pytest.raises(ValueError, match=r"row 37, columns 40 to 43 keep 3 of 4; use.*'csr'"):
        FORMATS.get(name).pack(torch.ones(40, 72), mask)


@pytest.mark.parametrize("name", NAMES)
def test_a_negative_zero_is_a_zero(name: str) -> None:
    weight = torch.tensor([[1.0, -0.0, 2.0, 0.0], [-0.0, -0.0, -0.0, -0.0]])
    packed = FORMATS.get(name).pack(weight, weight != 0)
    assert not torch.signbit(packed.values).any()
    judge.exact(FORMATS.get(name).unpack(packed.values, packed.index), weight.abs())


@pytest.mark.parametrize("shape", [(32, 64), (33, 68), (96, 192)], ids=str)
def test_fragments_stand_where_mma_sp_reads_them(shape: tuple[int, int]) -> None:
    """One lane, one register, one half at a time, as the PTX ISA draws m16n8k32."""
    fmt, mask = pairs("semi_frag"), two_of_four(shape)
    weight = data.reals(shape, data.generator(1), torch.float16)
    packed = fmt.pack(weight, mask)
    rows, columns = fmt.padded(*shape)
    compressed, _ = sparse_semi_structured_from_dense_cutlass(padded(weight, mask, fmt))
    nibbles = _nibbles(padded(weight, mask, fmt))
    values = packed.values.tolist()
    words = fmt.metadata(packed.index).view(torch.int32).tolist()
    at = 0
    for tile_row in range(0, rows, 32):
        for tile_column in range(0, columns, 32):
            for half in range(2):
                for lane in range(32):
                    g, t = divmod(lane, 4)
                    for register in range(4):
                        row = tile_row + 16 * half + g + 8 * (register % 2)
                        column = tile_column // 2 + 8 * (register // 2) + 2 * t
                        for e in range(2):
                            assert values[at] == compressed[row, column + e].item()
                            at += 1
            tile = tile_row // 32 * (columns // 32) + tile_column // 32
            for lane in range(32):
                g, (s, c) = lane // 4, divmod(lane % 4, 2)
                row, group = tile_row + 16 * s + g, (tile_column + 16 * c) // 4
                wanted = 0
                for bit in range(8):
                    wanted |= nibbles[row + 8 * (bit // 4)][group + bit % 4] << 4 * bit
                assert words[32 * tile + lane] & 0xFFFFFFFF == wanted


def _nibbles(weight: Tensor) -> list[list[int]]:
    """Index of the two values of each group, filled up to two from the front of 2, 3, 2."""
    found = []
    for row in weight.tolist():
        line = []
        for k in range(0, len(row), 4):
            kept = [j for j in range(4) if row[k + j] != 0]
            filled = {0: [2, 3], 1: {0: [0, 2], 1: [1, 2], 2: [2, 3], 3: [2, 3]}, 2: kept}
            two = filled[len(kept)]
            two = two[kept[0]] if isinstance(two, dict) else two
            line.append(two[0] | two[1] << 2)
        found.append(line)
    return found


def test_infinity_and_nan_are_packed_as_they_are() -> None:
    weight = torch.tensor([[float("inf"), 0, float("nan"), 0]]).half()
    for name in NAMES:
        packed = FORMATS.get(name).pack(weight, weight != 0)
        back = FORMATS.get(name).unpack(packed.values, packed.index)
        assert back[0, 0].isinf()
        assert back[0, 2].isnan()
