"""Packing on this GPU writes the CPU's bytes, and says the CPU's errors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from secateur.backends.cuda import _packing
from secateur.formats import FORMATS
from secateur.formats._pairs import Pairs
from secateur.formats.header import HEADER_BYTES
from tests.support import data, judge

KINDS = [
    ("semi", torch.float16),
    ("semi", torch.bfloat16),
    ("semi_frag", torch.float16),
    ("semi_frag", torch.bfloat16),
    ("semi8", torch.int8),
]
SHAPES = [(64, 128), (33, 72), (31, 130), (1, 3), (257, 1030), (4096, 4096)]
CUDA = torch.device("cuda", 0)


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> tuple[Pairs, torch.dtype]:
    name, dtype = request.param
    if not _packing.named("nm_pack", name, dtype, CUDA):
        pytest.skip("the CUDA kernels are not here: see secateur.backends.cuda.why_not()")
    packer = FORMATS.get(name)
    assert isinstance(packer, Pairs)
    return packer, dtype


def drawn(shape: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    gen = data.generator(1)
    out, wide = shape[0], -(-shape[1] // 4) * 4
    mask = data.nm_mask(out, wide, 2, 4, gen) & data.random_mask(out, wide, 0.7, gen)
    weight = data.integers(shape, gen).to(dtype)  # of nine values: ties, and zeros
    for value in (-128,) if dtype == torch.int8 else (-0.0, float("inf")):
        weight[data.random_mask(*shape, 0.1, gen)] = value
    return weight, mask[:, : shape[1]].contiguous()


def same(found: Tensor, wanted: Tensor) -> None:
    assert found.is_cuda
    assert found.dtype == wanted.dtype
    judge.exact(found.cpu().view(torch.uint8), wanted.view(torch.uint8))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_byte_is_the_cpus(kind: tuple[Pairs, torch.dtype], shape: tuple[int, int]) -> None:
    packer, dtype = kind
    weight, mask = drawn(shape, dtype)
    there = weight.to(CUDA)
    for packed, wanted in (
        (packer.pack(there, mask.to(CUDA)), packer.pack(weight, mask)),
        (packer.pack(there, mask), packer.pack(weight, mask)),  # the mask is moved
        (packer.pack(there.t().contiguous().t(), mask.to(CUDA)), packer.pack(weight, mask)),
        (packer.pack_largest(there), packer.pack_largest(weight)),
    ):
        same(packed.values, wanted.values)
        same(packed.index, wanted.index)
        dense = packer.unpack(packed.values, packed.index)
        same(dense, packer.unpack(wanted.values, wanted.index))


def test_errors_are_the_cpus(kind: tuple[Pairs, torch.dtype]) -> None:
    packer, dtype = kind
    weight, mask = drawn((40, 72), dtype)
    packed = packer.pack(weight.to(CUDA), mask.to(CUDA))
    packed.index[HEADER_BYTES + 21] = 0xFF
    with pytest.raises(ValueError, match="names a position twice, or in falling order"):
        packer.unpack(packed.values, packed.index)
    with pytest.raises(ValueError, match="must be on one device, got cuda:0 and cpu"):
        packer.unpack(packed.values, packed.index.cpu())
    mask[37, 40:44] = torch.tensor([True, False, True, True])
    with pytest.raises(ValueError, match="row 37, columns 40 to 43 keep 3 of 4"):
        packer.pack(weight.to(CUDA), mask.to(CUDA))
    if dtype != torch.int8:
        weight[9, 22] = float("nan")
        with pytest.raises(ValueError, match="weight is NaN at row 9, column 22"):
            packer.pack_largest(weight.to(CUDA))


def test_it_follows_the_current_stream(kind: tuple[Pairs, torch.dtype]) -> None:
    packer, dtype = kind
    weight, mask = drawn((64, 128), dtype)
    source, late = weight.to(CUDA), torch.zeros_like(weight, device=CUDA)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10_000_000)
        late.copy_(source)  # after the sleep: a kernel on another stream would read zeros
        packed = packer.pack(late, mask.to(CUDA))
        dense = packer.unpack(packed.values, packed.index)
    stream.synchronize()
    same(packed.values, packer.pack(weight, mask).values)
    same(dense, weight.masked_fill(~mask, 0))


def test_it_runs_on_the_device_of_the_weight(kind: tuple[Pairs, torch.dtype]) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    packer, dtype = kind
    weight, mask = drawn((64, 128), dtype)
    with torch.cuda.device(0):
        packed = packer.pack(weight.to("cuda:1"), mask.to("cuda:1"))
    assert packed.values.device.index == packed.index.device.index == 1
    same(packed.index, packer.pack(weight, mask).index)
