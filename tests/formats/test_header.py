"""The 64 bytes at the head of an index: read byte by byte here, refused where they are not ours."""

from __future__ import annotations

import struct

import pytest
import torch
from torch import Tensor

from secateur.formats import FORMATS, Header, Layout, permutation
from secateur.formats.header import bucket, verdict, with_verdicts
from tests.support import data


@pytest.fixture
def index() -> Tensor:
    mask = data.nm_mask(30, 260, 2, 4, data.generator())
    return FORMATS.get("csr").pack(mask.float(), mask, Layout(64, 16)).index


def test_the_fields_lie_where_the_layout_says(index: Tensor) -> None:
    raw = bytes(index.tolist())
    header = Header.read(index)
    assert raw[:4] == b"SCTR"
    assert struct.unpack_from("<HBB", raw, 4) == (1, 1, 0)
    assert struct.unpack_from("<III", raw, 8) == (260, 30, 30 * 130)
    assert struct.unpack_from("<HHBBH", raw, 20) == (64, 16, 0, 0, 0)
    assert struct.unpack_from("<II", raw, 28) == (0, 0)
    assert struct.unpack_from("<4I", raw, 36) == tuple(header.offsets.values())[:4]
    assert struct.unpack_from("<III", raw, 52) == (0, header.perm_offset, 0)


@pytest.mark.parametrize(
    ("rows", "expected"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (16384, 14), (10**9, 15)]
)
def test_row_counts_share_a_bucket_by_powers_of_two(rows: int, expected: int) -> None:
    assert bucket(rows) == expected


def test_verdicts_lie_two_bits_a_bucket(index: Tensor) -> None:
    marked = with_verdicts(index, {1: "sparse", 4: "dense"}, 7)
    assert struct.unpack_from("<II", bytes(marked.tolist()), 28) == (0b10_00_01, 7)


def test_verdicts_add_up_on_one_machine_and_are_dropped_on_another(index: Tensor) -> None:
    first = with_verdicts(index, {1: "sparse", 64: "sparse"}, 7)
    second = with_verdicts(first, {64: "dense"}, 7)
    assert (verdict(second, 1), verdict(second, 64)) == ("sparse", "dense")
    moved = with_verdicts(second, {16: "sparse"}, 8)
    assert (verdict(moved, 1), verdict(moved, 16), verdict(moved, 64)) == (None, "sparse", None)


@pytest.mark.parametrize("order", [(600, 1000), (1000, 600)])
def test_dense_stands_where_one_bucket_disagrees(index: Tensor, order: tuple[int, int]) -> None:
    words = {600: "sparse", 1000: "dense"}
    assert verdict(with_verdicts(index, {rows: words[rows] for rows in order}, 7), 800) == "dense"


def test_other_verdicts_are_refused(index: Tensor) -> None:
    with pytest.raises(ValueError, match=r"verdicts\[4\] must be 'sparse' or 'dense', got 'fast'"):
        with_verdicts(index, {4: "fast"}, 7)


def spoilt(index: Tensor, at: int, value: int) -> Tensor:
    copy = index.clone()
    copy[at] = value
    return copy


def test_what_is_not_an_index_is_refused(index: Tensor) -> None:
    with pytest.raises(TypeError, match=r"must be uint8, got torch\.float32"):
        Header.read(index.float())
    with pytest.raises(ValueError, match=r"at least 128 bytes, got \[100\]"):
        Header.read(index[:100])
    with pytest.raises(ValueError, match="1-D"):
        Header.read(index.reshape(1, -1))
    with pytest.raises(ValueError, match=r"begin with the mark.*pack the weight again"):
        Header.read(spoilt(index, 0, 0))
    with pytest.raises(ValueError, match="layout version 9, this package reads 1"):
        Header.read(spoilt(index, 4, 9))
    with pytest.raises(ValueError, match="cut short"):
        Header.read(index[:400])


def test_only_a_transposed_index_has_a_permutation(index: Tensor) -> None:
    with pytest.raises(ValueError, match=r"must be the result of Format\.transpose"):
        permutation(index)
    assert permutation(FORMATS.get("csr").transpose(index)).dtype == torch.int32


@pytest.mark.parametrize("sides", [(0, 1), (257, 1), (1, 0), (1, 65536)])
def test_layouts_are_checked(sides: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"(k|row)_block must be in \[1, "):
        Layout(*sides)
