"""The bytes of lb32 and n32, read one bit at a time; the pattern N:32 from pruning to packing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import secateur as sc
from secateur.formats import FORMATS, Header, lb32, n32
from secateur.nn import packing
from tests.support import data, judge


def sections(name: str, weight: Tensor, mask: Tensor) -> tuple[list[float], list[int], list[int]]:
    """Values, the table and the masks, as plain numbers."""
    packed = FORMATS.get(name).pack(weight, mask)
    head, raw = Header.read(packed.index), bytes(packed.index.tolist())
    words = [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)]
    table = words[head.table_offset // 4 :] if head.table_offset else []
    return packed.values.tolist(), table, words[head.columns_offset // 4 :]


@pytest.mark.parametrize("shape", [(16, 64), (33, 130), (5, 7)], ids=str)
def test_lb32_stands_as_its_lanes_read_it(shape: tuple[int, int]) -> None:
    weight = data.reals(shape, data.generator(1))
    mask = data.random_mask(*shape, 0.4, data.generator())
    values, starts, masks = sections("lb32", weight, mask)
    tile, room = 0, 0
    for row0 in range(0, shape[0], 16):
        for k0 in range(0, shape[1], 64):
            at = starts[tile]
            assert at == room
            for lane in range(32):
                g, t = divmod(lane, 4)
                for bit in range(32):
                    s, register, e = bit // 8, bit // 2 % 4, bit % 2
                    row = row0 + g + 8 * (register % 2)
                    k = k0 + 16 * s + 8 * (register // 2) + 2 * t + e
                    kept = row < shape[0] and k < shape[1] and bool(mask[row, k])
                    assert masks[32 * tile + lane] >> bit & 1 == kept
                    if kept:
                        assert values[at] == weight[row, k].item()
                        at += 1
            tile, room = tile + 1, -(-at // 8) * 8
    assert starts[tile] == room


@pytest.mark.parametrize("n", [2, 4, 8, 16, 30])
@pytest.mark.parametrize("shape", [(16, 128), (17, 160), (5, 32)], ids=str)
def test_n32_stands_as_its_lanes_read_it(shape: tuple[int, int], n: int) -> None:
    weight = data.reals(shape, data.generator(1))
    mask = data.nm_mask(*shape, n, 32, data.generator())
    values, _, masks = sections("n32", weight, mask)
    tile = 0
    for row0 in range(0, shape[0], 16):
        for k0 in range(0, shape[1], 128):
            for half in range(2):
                for lane in range(32):
                    row, first = row0 + 8 * half + lane // 4, k0 + 32 * (lane % 4)
                    word = masks[(2 * tile + half) * 32 + lane]
                    chosen = [j for j in range(32) if word >> j & 1]
                    assert len(chosen) == n
                    for place, j in enumerate(chosen):
                        pair = (2 * tile + half) * n // 2 + place // 2
                        there = row < shape[0] and first + j < shape[1]
                        wanted = weight[row, first + j].item() if there else 0.0
                        assert not there or bool(mask[row, first + j])
                        assert values[(pair * 32 + lane) * 2 + place % 2] == wanted
            tile += 1


def test_n32_fills_up_outside_of_the_weight_first() -> None:
    mask = data.nm_mask(16, 40, 2, 4, data.generator())
    packed = FORMATS.get("n32").pack(torch.ones(16, 40), mask)
    assert Header.read(packed.index).nnz == int(mask.sum())


@pytest.mark.parametrize("pattern", ["16:32", "8:32", "4:32"])
def test_n_of_32_is_pruned_and_packed(pattern: str) -> None:
    layer = torch.nn.Linear(128, 48, bias=False)
    layer.weight.data = data.integers((48, 128), data.generator()).abs() + 1
    sc.prune(layer, pattern=pattern)
    n = int(pattern.split(":")[0])
    kept = (layer.weight != 0).view(48, 4, 32).sum(2)
    judge.exact(kept, torch.full_like(kept, n))
    assert FORMATS.get("n32").pattern(layer.weight != 0) == (n, 32)
    assert packing.choose(layer.weight != 0, inferred=False) == "csr"
    x = data.integers((3, 128), data.generator())
    gpu = sc.SparseLinear.from_dense(layer, format="n32")
    cpu = sc.SparseLinear.from_dense(layer)
    assert cpu.format == "csr"
    judge.exact(gpu.weight, cpu.weight)
    judge.exact(gpu(x), cpu(x))
    judge.exact(gpu(x), torch.nn.functional.linear(x, layer.weight))


@pytest.mark.parametrize("shape", [(16, 64), (33, 130), (513, 1000)], ids=str)
def test_what_a_kernel_needs_follows_from_shapes(shape: tuple[int, int]) -> None:
    weight = data.reals(shape, data.generator(1))
    lanes = FORMATS.get("lb32").pack(weight, data.random_mask(*shape, 0.4, data.generator()))
    head = Header.read(lanes.index)
    assert lb32.offsets(*shape) == (head.columns_offset, head.table_offset)
    in_ = shape[1] // 32 * 32
    mask = data.nm_mask(shape[0], in_, 6, 32, data.generator())
    balanced = FORMATS.get("n32").pack(weight[:, :in_], mask)
    assert n32.offsets() == (Header.read(balanced.index).columns_offset, 0)
    assert n32.kept(len(balanced.values), shape[0], in_) == 6
