"""Which formats a mask of blocks, or one without rows and columns, is packed in."""

from __future__ import annotations

import pytest

import secateur as sc
from secateur.formats.bsr import Bsr
from secateur.nn.packing import candidates, choose
from tests.nn.layers import linear, x_for
from tests.support.data import block_mask, crossed_mask, generator, random_mask
from tests.support.judge import exact

BLOCKS = [(4, 1), (8, 1), (16, 1), (1, 8), (16, 16), (32, 32)]


@pytest.mark.parametrize("shape", BLOCKS, ids=str)
def test_a_mask_of_blocks_is_packed_as_bsr(shape: tuple[int, int]) -> None:
    mask = block_mask(96, 128, *shape, generator())
    layer = linear(96, 128, mask)
    assert candidates(mask, inferred=False) == ["bsr", "csr"]
    sparse = sc.SparseLinear.from_dense(layer, mask)
    assert sparse.format == "bsr"
    exact(sparse.mask, mask)
    exact(sparse(x_for(layer, 5)), layer(x_for(layer, 5)))
    mask[int(mask[:, 3].nonzero()[0]), 3] = False
    assert choose(mask, inferred=False) == "csr"
    assert choose(mask, inferred=True) == "bsr"


@pytest.mark.parametrize("kept", [0.2, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("rows", [(), (1,), (1, 4), (1, 5), (256,)])
def test_formats_for_few_rows_are_considered_where_no_other_row_count_matters(
    kept: float, rows: tuple[int, ...]
) -> None:
    mask = random_mask(96, 128, kept, generator())
    few = bool(rows) and max(rows) <= 4
    expected = ["bitmap", "sell"] if kept > 0.25 else ["sell"]
    assert candidates(mask, inferred=False, rows=rows) == (expected if few else []) + ["csr"]
    assert choose(mask, inferred=False) == "csr"


def test_a_mask_without_rows_and_columns_is_packed_as_rows() -> None:
    mask = crossed_mask(96, 128, generator())
    layer = linear(96, 128, mask)
    assert candidates(mask, inferred=False)[0] == "rows"
    sparse = sc.SparseLinear.from_dense(layer, mask)
    assert sparse.format == "rows"
    exact(sparse(x_for(layer, 2, 5)), layer(x_for(layer, 2, 5)))


def test_loading_into_a_layer_of_another_block_shape_keeps_the_order_of_its_values() -> None:
    """By its mask alone it would be packed in other blocks, whose values are as many."""
    mask = block_mask(32, 64, 16, 16, generator())
    layer = linear(32, 64, mask)
    sparse = sc.SparseLinear(Bsr(4, 1).pack(layer.weight.detach(), mask), layer.bias.detach())
    exact(sparse(x_for(layer, 3)), layer(x_for(layer, 3)))
    other = linear(32, 64, mask, seed=9)
    sparse.load_state_dict(sc.SparseLinear.from_dense(other, mask).state_dict())
    exact(sparse(x_for(layer, 3)), other(x_for(layer, 3)))
