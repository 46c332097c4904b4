"""What a convolution allocates beside its result: never an unfolded x."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from benchmarks import scratch
from benchmarks.resident import Unknown
from secateur import _extension
from secateur.nn import SparseConv2d
from tests.support import data

try:
    scratch.held(lambda: None)
    _REASON = ""
except Unknown as reason:
    _REASON = str(reason)

pytestmark = [
    pytest.mark.skipif(bool(_REASON), reason=_REASON),
    pytest.mark.skipif(not _extension.load(), reason=_extension.reason()),
]

ALLOCATOR = 8192  # a page that a size is rounded up to, and the allocator's own heads
CASES = {
    "plain": (64, 64, 32, 3, 1, 1, torch.float32),
    "1x1": (64, 128, 28, 1, 1, 0, torch.float32),
    "strided": (128, 128, 56, 3, 2, 1, torch.float32),
    "strided and small": (64, 128, 28, 3, 2, 1, torch.float32),
    "1x1 strided": (64, 128, 28, 1, 2, 0, torch.float32),
    "valid": (64, 64, 30, 3, 1, 0, torch.float32),
    "valid, few outputs": (64, 8, 28, 5, 1, 0, torch.float32),
    "first": (3, 64, 112, 7, 2, 3, torch.float32),
    "narrow": (16, 16, 28, 7, 3, 3, torch.float32),
    "small and deep": (512, 512, 7, 3, 1, 1, torch.float32),
    "bf16": (64, 64, 56, 3, 1, 1, torch.bfloat16),
    "bf16 strided": (64, 128, 28, 3, 2, 1, torch.bfloat16),
}


def layer(name: str, kernel: int | None = None) -> tuple[SparseConv2d, torch.Tensor]:
    channels, out, size, side, stride, padding, dtype = CASES[name]
    if kernel is not None:
        side, padding = kernel, kernel // 2
    conv, gen = nn.Conv2d(channels, out, side, stride, padding, dtype=dtype), data.generator()
    mask = torch.rand(conv.weight.shape, generator=gen) < 0.1
    sparse = SparseConv2d.from_dense(conv, mask, format="csr").eval()
    return sparse, data.reals((1, channels, size, size), gen, dtype)


def measured(name: str, last: torch.memory_format, kernel: int | None = None) -> tuple[int, int]:
    """Bytes of scratch, and of x and y."""
    sparse, x = layer(name, kernel)
    x = x.contiguous(memory_format=last)
    with torch.no_grad():
        operands = x.nbytes + sparse(x).nbytes
    return scratch.held(lambda: sparse(x)), operands


FORMATS = pytest.mark.parametrize(
    "last", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"]
)


@FORMATS
@pytest.mark.parametrize("name", CASES)
def test_scratch_is_no_more_than_x_and_y(name: str, last: torch.memory_format) -> None:
    got, operands = measured(name, last)
    assert 0 < got <= operands


@FORMATS
@pytest.mark.parametrize("name", ["plain", "strided"])
def test_scratch_does_not_grow_with_the_kernel(name: str, last: torch.memory_format) -> None:
    """Unfolded, x would be 49 / 9 times as large."""
    sizes = [measured(name, last, kernel)[0] for kernel in (3, 5, 7)]
    assert max(sizes) - min(sizes) <= ALLOCATOR


@pytest.mark.unpoisoned
def test_what_a_call_leaves_allocated_is_seen(size: int = 1 << 20) -> None:
    kept: list[torch.Tensor] = []
    keep: Callable[[], object] = lambda: kept.append(torch.empty(size))  # noqa: E731
    assert 0 <= scratch.held(keep) - 4 * size < ALLOCATOR
    assert abs(scratch.held(lambda: torch.empty(size))) < ALLOCATOR


def test_more_than_x_and_y_is_a_miss() -> None:
    some = [scratch.Scratch("a", 1000, 9000, got) for got in (1000, 1001)]
    assert [line.endswith("miss") for line in scratch.lines(some)] == [False, False, True]
