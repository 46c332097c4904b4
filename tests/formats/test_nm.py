"""The bytes of nm, read by a slow decoder and by torch's own 2:4 converter; patterns inferred."""

from __future__ import annotations

import struct

import pytest
import torch
from torch import Tensor
from torch.sparse._semi_structured_conversions import sparse_semi_structured_from_dense_cutlass

from secateur.formats import FORMATS, Header, Layout, Packed
from secateur.formats.nm import Nm, infer_pattern, nm_k_block
from tests.support import data, judge

PATTERNS = [(n, m) for m in range(1, 17) for n in {1, m // 2, m - 1, m} if n]


def decode(packed: Packed) -> tuple[Tensor, list[int]]:
    """Follow the byte layout one code at a time: (dense weight, in-group codes in value order)."""
    raw = bytes(packed.index.tolist())
    in_features, out_features = struct.unpack_from("<II", raw, 8)
    k_block, row_block, n, m = struct.unpack_from("<HHBB", raw, 20)
    (at,) = struct.unpack_from("<I", raw, 48)
    bits = 2 if m <= 4 else 4
    dense = torch.zeros(out_features, in_features, dtype=packed.values.dtype)
    value, codes = 0, []
    for r0 in range(0, out_features, row_block):
        for k0 in range(0, in_features, k_block):
            slots = min(k_block, in_features - k0) // m * n
            row_bytes = -(-slots * bits // 32) * 4
            for row in range(r0, min(r0 + row_block, out_features)):
                packed_row = int.from_bytes(raw[at : at + row_bytes], "little")
                for slot in range(slots):
                    code = packed_row >> slot * bits & (2**bits - 1)
                    codes.append(code)
                    dense[row, k0 + slot // n * m + code] = packed.values[value]
                    value += 1
                at += row_bytes
    return dense, codes


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_the_bytes_are_as_the_layout_says(n: int, m: int) -> None:
    fmt = Nm(n, m)
    in_ = m * (300 // m)
    mask = data.nm_mask(5, in_, n, m, data.generator())
    weight = data.reals(mask.shape, data.generator(1))
    packed = fmt.pack(weight, mask)
    dense, _ = decode(packed)
    judge.exact(dense, weight.masked_fill(~mask, 0))
    judge.exact(fmt.unpack(packed.values, packed.index), dense)
    header = Header.read(packed.index)
    assert (header.n, header.m, header.nnz) == (n, m, int(mask.sum()))
    assert len(packed.values) == header.nnz + 16


@pytest.mark.parametrize("layout", [Layout(8, 3), Layout(64, 2), Layout(4, 1)], ids=str)
def test_other_layouts(layout: Layout) -> None:
    mask = data.nm_mask(7, 36, 2, 4, data.generator())
    weight = data.reals(mask.shape, data.generator(1))
    packed = Nm(2, 4).pack(weight, mask, layout)
    judge.exact(decode(packed)[0], weight.masked_fill(~mask, 0))
    judge.exact(FORMATS.get("nm").unpack(packed.values, packed.index), decode(packed)[0])


def test_torchs_own_two_of_four_converter_agrees() -> None:
    mask = data.nm_mask(32, 64, 2, 4, data.generator())
    weight = data.reals(mask.shape, data.generator(1), torch.bfloat16).masked_fill(~mask, 0)
    assert bool((weight != 0).eq(mask).all())
    theirs, meta = sparse_semi_structured_from_dense_cutlass(weight)
    packed = Nm(2, 4).pack(weight, mask)
    judge.exact(packed.values[: mask.sum()].reshape(32, 32), theirs)
    # Their metadata is shuffled among rows and columns; the multiset of its 2-bit codes is not.
    halves = meta.reshape(-1).to(torch.int64) & 0xFFFF
    their_codes = (halves[:, None] >> torch.arange(0, 16, 2)) & 3
    our_codes = torch.tensor(decode(packed)[1])
    judge.exact(torch.bincount(our_codes), torch.bincount(their_codes.flatten()))


def test_missing_weights_are_filled_lowest_first_with_zero() -> None:
    mask = torch.tensor([[0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 1, 0]], dtype=torch.bool)
    packed = Nm(2, 4).pack(torch.full((1, 16), 5.0), mask)
    _, columns = FORMATS.get("nm").positions(packed.index)
    assert columns.tolist() == [0, 1, 4, 6, 8, 9, 13, 14]
    assert packed.values[:8].tolist() == [0, 0, 0, 5, 5, 0, 5, 5]


@pytest.mark.parametrize(
    ("n", "m", "inferred"),
    [(2, 4, (2, 4)), (1, 4, (1, 4)), (4, 8, (4, 8)), (1, 2, (2, 4)), (3, 5, (3, 5))],
)
def test_patterns_are_inferred(n: int, m: int, inferred: tuple[int, int]) -> None:
    mask = data.nm_mask(200, 240, n, m, data.generator())
    assert infer_pattern(mask) == inferred


def test_a_few_missing_weights_leave_the_pattern() -> None:
    mask = data.nm_mask(50, 240, 2, 4, data.generator())
    mask &= torch.rand(mask.shape, generator=data.generator(1)) < 0.97
    assert infer_pattern(mask) == (2, 4)


@pytest.mark.parametrize("density", [0.0, 0.05, 0.5, 1.0])
def test_unstructured_masks_have_no_pattern(density: float) -> None:
    mask = data.random_mask(100, 240, density, data.generator())
    assert infer_pattern(mask) is None
    assert "no N:M" in str(FORMATS.get("nm").fits(mask))


def test_masks_that_do_not_fit_say_why() -> None:
    mask = data.nm_mask(4, 12, 3, 4, data.generator())
    assert Nm(2, 4).fits(mask) == "2:4 keeps 2 of 4, but a group of the mask has 3"
    assert Nm(2, 8).fits(mask) == "2:8 needs in_features divisible by 8, got 12"
    with pytest.raises(ValueError, match="a group of the mask has 3; use the format 'csr'"):
        Nm(2, 4).pack(mask.float(), mask)
    with pytest.raises(ValueError, match="k_block must be a multiple of M=4, got 6"):
        Nm(3, 4).pack(mask.float(), mask, Layout(6, 512))


@pytest.mark.parametrize("pattern", [(0, 4), (5, 4), (2, 17), (2, None), (None, 4)])
def test_impossible_patterns_are_refused(pattern: tuple[int | None, int | None]) -> None:
    with pytest.raises(ValueError, match=r"needs 1 <= N <= M <= 16|give both n and m"):
        Nm(*pattern)


def test_k_blocks_hold_whole_groups() -> None:
    sizes = [nm_k_block(m) for m in range(1, 17)]
    assert [size % m for m, size in enumerate(sizes, 1)] == [0] * 16
    assert max(sizes) == 128
    assert [nm_k_block(m) for m in (2, 4, 8, 16)] == [128] * 4
