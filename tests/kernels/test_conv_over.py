"""A convolution whose result is written over its residual: to the bit what it is elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from secateur import _extension
from secateur.backends import cpu
from secateur.formats import FORMATS
from tests.support import data

CASES = {
    "rows of y end to end": ((2, 8, 8, 8), {"padding": (1, 1, 1, 1)}),
    "padded rows": ((1, 8, 20, 20), {}),
    "ends of vectors": ((1, 8, 7, 21), {"padding": (1, 1, 1, 1)}),
    "strided": ((1, 8, 19, 19), {"stride": (2, 2)}),
}
KERNELS: list[cpu.Kernel | None] = [k for k in cpu.kernels() if k.op.endswith("_conv2d")]


@pytest.fixture(params=KERNELS or [None], ids=lambda kernel: getattr(kernel, "name", "reference"))
def kernel(request: pytest.FixtureRequest) -> cpu.Kernel:
    if request.param is None:
        pytest.skip(_extension.reason())
    found: cpu.Kernel = request.param
    if not found.runnable:
        pytest.skip(f"{found.name} needs {found.isa}; this machine has {cpu.isa()}")
    return found


def call(format: str, name: str, dtype: torch.dtype, **options: Any) -> tuple[list[Any], Any]:
    """Arguments up to the residual, which is left out, and keyword arguments."""
    size, more = CASES[name]
    gen = data.generator(len(name))
    out, columns = 24, size[1] * 9
    mask = data.nm_mask(out, columns, 2, 4, gen)
    if format == "bsr":
        mask = data.random_mask(out // 4, columns, 0.5, gen).repeat_interleave(4, 0)
    packed = FORMATS.get(format).pack(data.reals((out, columns), gen, dtype), mask)
    x = data.reals(size, gen, dtype)
    options = {"out_channels": out, "kernel_size": (3, 3), "stride": (1, 1), **more, **options}
    options = {"padding": (0, 0, 0, 0), "dilation": (1, 1), **options}
    tensors = [x, packed.values, packed.index, data.reals((out,), gen, dtype), None]
    return tensors, options


def both(format: str, tensors: list[Any], options: Any, laid: Any) -> tuple[Tensor, Tensor]:
    """The result in new memory, and over the residual."""
    infer = getattr(torch.ops.secateur, f"{format}_conv2d_infer").default
    over = getattr(torch.ops.secateur, f"{format}_conv2d_over").default
    y = infer(*tensors, **options)
    residual = data.reals(y.shape, data.generator(5), y.dtype).contiguous(memory_format=laid)
    tensors = [*tensors[:4], residual.clone(memory_format=torch.preserve_format)]
    apart = infer(*tensors, **options)
    assert torch.equal(tensors[4], residual)
    over(*tensors, None, None, None, **options)
    return apart, tensors[4]


LAST = torch.channels_last


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
def test_over_its_residual(kernel: cpu.Kernel, name: str, dtype: torch.dtype, last: bool) -> None:
    format, laid = kernel.op.partition("_")[0], LAST if last else torch.contiguous_format
    if format == "bsr" and dtype != torch.float32:
        pytest.skip("bsr has kernels for float32 alone")
    for act, first in (("none", False), ("relu", True), ("silu", True), ("silu", False)):
        tensors, options = call(format, name, dtype, act=act, residual_first=first)
        tensors[0] = tensors[0].contiguous(memory_format=laid)
        with cpu.forced(kernel.name):
            apart, over = both(format, tensors, options, laid)
        assert torch.equal(apart, over), (act, first)


@pytest.mark.parametrize("format", ["csr", "nm", "bsr"])
def test_a_residual_that_lies_otherwise_is_copied_to(format: str) -> None:
    tensors, options = call(format, "padded rows", torch.float32)
    apart, over = both(format, tensors, options, LAST)
    assert over.is_contiguous(memory_format=LAST)
    assert torch.equal(apart, over)


def test_its_schema_says_what_it_writes() -> None:
    tensors, options = call("csr", "strided", torch.float32)
    y = torch.ops.secateur.csr_conv2d_infer(*tensors, **options)
    tensors[4] = torch.ones_like(y)
    torch.library.opcheck(
        torch.ops.secateur.csr_conv2d_over.default, (*tensors, None, None, None), options
    )


@pytest.mark.parametrize("format", ["csr", "nm", "bsr"])
def test_without_a_kernel_it_is_the_same(format: str) -> None:
    tensors, options = call(format, "strided", torch.float64)
    apart, over = both(format, tensors, options, torch.contiguous_format)
    assert torch.equal(apart, over)
