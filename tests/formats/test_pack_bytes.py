"""Packing, byte for byte as the slow packer does it, and in as many bytes as the page says."""

from __future__ import annotations

import math

import pytest
import torch

from secateur.formats import FORMATS, Layout, _gather
from secateur.formats.layout import csr_layout
from secateur.formats.nm import Nm, nm_k_block
from tests.support import data, judge, slow_pack

BITMAP = FORMATS.get("bitmap")
CSR = FORMATS.get("csr")
SELL = FORMATS.get("sell")
LAYOUTS = [Layout(128, 256), Layout(256, 64), Layout(48, 37), Layout(7, 3), Layout(1, 64)]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SHAPES = [(1, 1), (5, 4), (33, 120), (20, 257), (70, 130)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", ["bitmap", "csr", "sell"])
def test_any_mask_is_packed_as_one_number_at_a_time(
    name: str, layout: Layout, shape: tuple[int, int]
) -> None:
    weight = data.reals(shape, data.generator(1))
    slow = getattr(slow_pack, name)
    for mask in data.masks(*shape, data.generator()).values():
        packed = FORMATS.get(name).pack(weight, mask, layout)
        values, index = slow(weight, mask, layout.k_block, layout.row_block)
        judge.exact(packed.values, values)
        judge.exact(packed.index, index)


@pytest.mark.parametrize("density", [0.05, 0.1, 0.5])
def test_csr_across_row_blocks_in_its_own_layout(density: float) -> None:
    weight = data.reals((300, 270), data.generator(1))
    mask = data.random_mask(300, 270, density, data.generator())
    layout = csr_layout(int(mask.sum()), 300, 270)
    packed = CSR.pack(weight, mask)
    values, index = slow_pack.csr(weight, mask, layout.k_block, layout.row_block)
    judge.exact(packed.values, values)
    judge.exact(packed.index, index)


@pytest.mark.parametrize("row_block", [256, 37, 1])
@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (1, 2), (2, 3), (4, 8), (3, 5), (5, 16)])
def test_nm_is_packed_as_one_number_at_a_time(n: int, m: int, row_block: int) -> None:
    in_ = m * (300 // m)
    weight = data.reals((41, in_), data.generator(1))
    full = data.nm_mask(41, in_, n, m, data.generator())
    thinned = full & data.random_mask(41, in_, 0.8, data.generator(2))
    for mask in (full, thinned):
        for k_block in (nm_k_block(m), m, 3 * m):
            packed = Nm(n, m).pack(weight, mask, Layout(k_block, row_block))
            values, index = slow_pack.nm(weight, mask, n, m, (k_block, row_block))
            judge.exact(packed.values, values)
            judge.exact(packed.index, index)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", FORMATS.names())
def test_every_dtype_and_stride_is_packed_alike(name: str, dtype: torch.dtype) -> None:
    mask = data.mask_for(name, 40, 64, data.generator())
    weight = data.reals((40, 64), data.generator(1), dtype)
    wide = data.reals((40, 128), data.generator(2), dtype)
    wide[:, ::2] = weight
    values = weight[FORMATS.get(name).positions(FORMATS.get(name).pack(weight, mask).index)]
    for view in (weight, weight.T.contiguous().T, wide[:, ::2], torch.nn.Parameter(weight)):
        packed = FORMATS.get(name).pack(view, mask.T.contiguous().T)
        judge.exact(packed.values[FORMATS.get(name).occupied(packed.index)], values)


@pytest.mark.parametrize("density", [0.05, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(768, 768), (3072, 768), (768, 3072)], ids=str)
def test_csr_takes_five_bytes_a_weight_and_little_else(
    shape: tuple[int, int], density: float
) -> None:
    """docs/packed-weight.md, "Bytes"."""
    mask = data.random_mask(*shape, density, data.generator())
    kept, step = int(mask.sum()), mask.numel() / 64
    layout = csr_layout(kept, *shape)
    deep = math.ceil(shape[1] / layout.k_block)
    tall = math.ceil(shape[0] / layout.row_block)
    places = 2 * shape[0] * deep + 4 * min(layout.row_block, layout.k_block + 1) * deep * tall
    formula = 5 * step * math.ceil(kept / step) + places
    assert CSR.pack(mask.float(), mask).nbytes == pytest.approx(formula, rel=0.05)


@pytest.mark.parametrize("density", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("shape", [(768, 768), (3072, 768), (768, 3072)], ids=str)
def test_sell_takes_five_bytes_a_weight_and_four_a_row_of_a_k_block(
    shape: tuple[int, int], density: float
) -> None:
    """docs/packed-weight.md, "Bytes"."""
    mask = data.random_mask(*shape, density, data.generator())
    kept, step = int(mask.sum()), mask.numel() / 64
    formula = 5 * step * math.ceil(kept / step) + 4 * shape[0] * math.ceil(shape[1] / 256)
    assert SELL.pack(mask.float(), mask).nbytes == pytest.approx(formula, rel=0.05)


@pytest.mark.parametrize("density", [0.3, 0.5])
@pytest.mark.parametrize("shape", [(768, 768), (768, 3072)], ids=str)
def test_a_bitmap_takes_four_bytes_a_weight_and_a_bit_a_position(
    shape: tuple[int, int], density: float
) -> None:
    """docs/packed-weight.md, "Bytes"."""
    mask = data.random_mask(*shape, density, data.generator())
    kept, step = int(mask.sum()), mask.numel() / 64
    formula = 4 * step * math.ceil(kept / step) + mask.numel() / 8 + 4 * shape[0]
    assert BITMAP.pack(mask.float(), mask).nbytes == pytest.approx(formula, rel=0.05)


@pytest.mark.parametrize(("n", "m", "bits"), [(2, 4, 2), (1, 4, 2), (4, 8, 4), (3, 16, 4)])
@pytest.mark.parametrize("shape", [(768, 768), (768, 3072)], ids=str)
def test_nm_takes_four_bytes_and_a_code_a_slot(
    shape: tuple[int, int], n: int, m: int, bits: int
) -> None:
    """docs/packed-weight.md, "Bytes"."""
    mask = data.nm_mask(*shape, n, m, data.generator())
    formula = (4 + bits / 8) * mask.numel() * n / m
    assert Nm(n, m).pack(mask.float(), mask).nbytes == pytest.approx(formula, rel=0.05)


@pytest.mark.parametrize("name", FORMATS.names())
def test_more_values_than_kernels_count_are_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = data.mask_for(name, 8, 16, data.generator())
    monkeypatch.setattr(_gather, "MOST_VALUES", 63)
    with pytest.raises(ValueError, match=r"keeps \d+ values, the limit is 63; split the layer"):
        FORMATS.get(name).pack(mask.float(), mask)
