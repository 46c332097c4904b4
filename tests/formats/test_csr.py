"""The bytes of csr, read by a decoder that shares nothing with the package, and by scipy."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

from secateur.formats import FORMATS, Layout, Packed
from secateur.formats.layout import csr_values_length
from tests.support import data, judge

CSR = FORMATS.get("csr")
LAYOUTS = [Layout(), Layout(256, 64), Layout(8, 3), Layout(5, 512), Layout(1, 1)]


class Decoded(NamedTuple):
    """What the slow decoder found."""

    dense: Tensor
    lengths: list[list[int]]  # of the rows of each block, in stored order
    rows: list[list[int]]  # of each block, in stored order


class Bytes:
    """Little-endian numbers at a byte offset."""

    def __init__(self, index: Tensor) -> None:
        self.raw = bytes(index.tolist())

    def at(self, kind: str, offset: int) -> int:
        return int(struct.unpack_from("<" + kind, self.raw, offset)[0])


def decode(packed: Packed) -> Decoded:
    """Follow the byte layout one number at a time."""
    read = Bytes(packed.index)
    in_features, out_features = read.at("I", 8), read.at("I", 12)
    k_block, row_block = read.at("H", 20), read.at("H", 22)
    table, rows_at, runs_at, columns = (read.at("I", 36 + 4 * i) for i in range(4))
    dense = torch.zeros(out_features, in_features, dtype=packed.values.dtype)
    found = Decoded(dense, [], [])
    block = 0
    for r0 in range(0, out_features, row_block):
        height = min(row_block, out_features - r0)
        for k0 in range(0, in_features, k_block):
            value, run, runs, first_row = (
                read.at("I", table + 16 * block + 4 * i) for i in range(4)
            )
            lengths = []
            for i in range(run, run + runs):
                lengths += [read.at("H", runs_at + 4 * i)] * read.at("H", runs_at + 4 * i + 2)
            rows = [read.at("H", rows_at + 2 * (first_row + i)) for i in range(height)]
            for row, length in zip(rows, lengths, strict=True):
                for _ in range(length):
                    k = read.at("B", columns + value)
                    dense[r0 + row, k0 + k] = packed.values[value]
                    value += 1
            found.lengths.append(lengths)
            found.rows.append(rows)
            block += 1
    return found


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_bytes_are_as_the_layout_says(layout: Layout) -> None:
    for mask in data.masks(13, 40, data.generator()).values():
        weight = data.reals(mask.shape, data.generator(1))
        packed = CSR.pack(weight, mask, layout)
        found = decode(packed)
        judge.exact(found.dense, weight.masked_fill(~mask, 0))
        judge.exact(CSR.unpack(packed.values, packed.index), found.dense)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_rows_of_a_block_stand_longest_first_and_stable(layout: Layout) -> None:
    mask = data.masks(29, 40, data.generator())["empty and full rows"]
    found = decode(CSR.pack(mask.float(), mask, layout))
    for lengths, rows in zip(found.lengths, found.rows, strict=True):
        assert lengths == sorted(lengths, reverse=True)
        assert sorted(rows) == list(range(len(rows)))
        ranked = list(zip(lengths, rows, strict=True))
        assert ranked == sorted(ranked, key=lambda pair: (-pair[0], pair[1]))


def test_k_ascends_in_a_row_of_a_block() -> None:
    layout = Layout(64, 16)
    mask = data.random_mask(40, 200, 0.5, data.generator())
    rows, columns = CSR.positions(CSR.pack(mask.float(), mask, layout).index)
    same_row = (rows[1:] == rows[:-1]) & (columns[1:] // 64 == columns[:-1] // 64)
    assert (columns[1:] > columns[:-1])[same_row].all()
    corner = rows // 16 * 4 + columns // 64
    assert (corner[1:] >= corner[:-1]).all(), "blocks out of order"


@pytest.mark.parametrize("density", [0.05, 0.5])
def test_scipy_and_torch_hold_the_same_matrix(density: float) -> None:
    mask = data.random_mask(70, 300, density, data.generator())
    weight = data.reals(mask.shape, data.generator(1)).masked_fill(~mask, 0)
    packed = CSR.pack(weight, mask)
    rows, columns = (side.numpy() for side in CSR.positions(packed.index))
    values = packed.values[: len(rows)].numpy()
    ours = scipy.sparse.coo_array((values, (rows, columns)), shape=weight.shape).tocsr()
    theirs = scipy.sparse.csr_array(weight.numpy())
    ours.sort_indices()
    np.testing.assert_array_equal(ours.indptr, theirs.indptr)
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    np.testing.assert_array_equal(ours.data, theirs.data)
    order = torch.from_numpy(np.lexsort((columns, rows)))
    coordinates = weight.to_sparse_coo().coalesce()
    judge.exact(torch.from_numpy(rows)[order], coordinates.indices()[0])
    judge.exact(torch.from_numpy(columns)[order], coordinates.indices()[1])
    judge.exact(torch.from_numpy(values)[order], coordinates.values())


def test_kept_zeros_stay_kept() -> None:
    mask = data.random_mask(9, 30, 0.5, data.generator())
    packed = CSR.pack(torch.zeros(9, 30), mask)
    found = torch.zeros(9, 30, dtype=torch.bool)
    found[CSR.positions(packed.index)] = True
    judge.exact(found, mask)


def test_lengths_come_in_few_sizes() -> None:
    lengths = {csr_values_length(nnz, 96, 100) for nnz in range(96 * 100 + 1)}
    assert len(lengths) <= 65
    assert all(csr_values_length(nnz, 96, 100) >= nnz + 16 for nnz in (0, 1, 150, 9600))


@pytest.mark.parametrize(("density", "limit"), [(0.5, 2.9), (0.1, 0.75)])
def test_bytes_for_each_dense_weight(density: float, limit: float) -> None:
    """Four bytes a value, one a column, 1/64 + 1/64 of rounding."""
    mask = data.random_mask(512, 768, density, data.generator())
    assert CSR.pack(mask.float(), mask).nbytes / mask.numel() < limit
