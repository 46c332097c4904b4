"""Every convolution kernel of the table, by name, on integer data: equal to F.conv2d or wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from secateur import _extension, ops
from secateur.backends import cpu
from secateur.formats import FORMATS, Header, Layout, Packed
from secateur.formats.bsr import Bsr
from secateur.formats.layout import csr_layout, grouped
from tests.support import data, judge, truth

pytestmark = pytest.mark.skipif(not _extension.load(), reason=_extension.reason())

KERNELS = [k for k in cpu.kernels() if k.op.endswith("_conv2d")]
Pair = tuple[int, int]


@pytest.fixture(params=KERNELS, ids=lambda kernel: kernel.name)
def kernel(request: pytest.FixtureRequest) -> cpu.Kernel:
    found: cpu.Kernel = request.param
    if not found.runnable:
        pytest.skip(f"{found.name} needs {found.isa}; this machine has {cpu.isa()}")
    return found


@dataclass(frozen=True)
class Problem:
    """Everything a convolution is made of, but its numbers."""

    images: int = 1
    groups: int = 1
    channels: int = 4  # of a group
    outputs: int = 8  # of a group
    size: Pair = (9, 9)
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilation: Pair = (1, 1)
    density: float = 0.5
    block: Pair = (4, 1)  # of bsr; where there are groups, as high as fits one
    channels_last: bool = False
    residual: bool = False
    residual_first: bool = False
    act: str = "none"

    def tensors(self, format: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x, weight [O, C / groups, kh, kw], its mask as [O, kh * kw * C / groups], and bias."""
        gen = data.generator(self.images + 7 * self.channels + 31 * self.outputs)
        out, columns = self.groups * self.outputs, self.channels * self.kernel[0] * self.kernel[1]
        x = data.integers((self.images, self.groups * self.channels, *self.size), gen)
        weight = data.integers((out, self.channels, *self.kernel), gen)
        mask = data.random_mask(out, columns, self.density, gen)
        if format == "nm":
            mask = data.nm_mask(out, columns, 2, 4, gen)
        if format == "bsr":
            r, c = self.fitting_block
            mask = mask[: -(-out // r), : -(-columns // c)].repeat_interleave(r, 0)
            mask = mask.repeat_interleave(c, 1)[:out, :columns]
            mask[::3] &= data.random_mask(1, columns, 0.9, gen)  # fillers
        return x, weight, mask, data.integers((out,), gen)

    def pack(self, format: str, weight: Tensor, mask: Tensor) -> Packed:
        matrix = weight.movedim(1, -1).flatten(1)
        if format == "bsr":
            bsr = Bsr(*self.fitting_block)
            return bsr.pack(matrix, mask, bsr.conv_layout(mask, self.groups))
        layout = csr_layout(int(mask.sum()), *mask.shape) if format == "csr" else Layout()
        return FORMATS.get(format).pack(matrix, mask, grouped(layout, len(mask), self.groups))

    @property
    def fitting_block(self) -> Pair:
        r, c = self.block
        return r if self.groups == 1 else math.gcd(r, self.outputs), c

    def dense(self, x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor) -> Tensor:
        kept = mask.view(len(mask), *self.kernel, -1).movedim(-1, 1)
        padded = F.pad(x, self.padding).double()
        pruned = weight.masked_fill(~kept, 0).double()
        y = F.conv2d(padded, pruned, bias.double(), self.stride, 0, self.dilation, self.groups)
        residual = self.residual_of(y.shape)
        if residual is None:
            return truth.activation(self.act, y).to(x.dtype)
        if self.residual_first:
            return truth.activation(self.act, y + residual).to(x.dtype)
        return (truth.activation(self.act, y) + residual).to(x.dtype)

    def residual_of(self, shape: Sequence[int]) -> Tensor | None:
        return data.integers(shape, data.generator(5)) if self.residual else None

    def fits(self) -> bool:
        left, right, top, bottom = self.padding
        high = self.size[0] + top + bottom - self.dilation[0] * (self.kernel[0] - 1)
        wide = self.size[1] + left + right - self.dilation[1] * (self.kernel[1] - 1)
        return high >= 1 and wide >= 1


def check(kernel: cpu.Kernel, problem: Problem) -> None:
    format = kernel.op.partition("_")[0]
    x, weight, mask, bias = problem.tensors(format)
    packed = problem.pack(format, weight, mask)
    expected = problem.dense(x, weight, mask, bias)
    row_block = Header.read(packed.index).row_block
    assert problem.groups == 1 or problem.outputs % row_block == 0, "the reference would run"
    x = data.nan_margins(x)
    if problem.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    with cpu.forced(kernel.name), torch.no_grad():
        assert cpu.pick(kernel.op, packed.index, 1) == kernel.name
        y = getattr(ops, kernel.op)(
            x,
            packed.values,
            packed.index,
            bias,
            problem.residual_of(expected.shape),
            out_channels=len(bias),
            kernel_size=problem.kernel,
            stride=problem.stride,
            padding=problem.padding,
            dilation=problem.dilation,
            groups=problem.groups,
            act=problem.act,
            residual_first=problem.residual_first,
        )
    judge.exact(y, expected)
    if problem.channels_last and not x.is_contiguous():
        assert y.is_contiguous(memory_format=torch.channels_last)


pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
few = st.tuples(st.integers(1, 3), st.integers(1, 3))
BLOCKS = [
    *((4, 1), (8, 1), (16, 1), (1, 4), (1, 8), (4, 4), (16, 16)),
    *((1, 1), (2, 1), (3, 5), (5, 1), (7, 3), (12, 2), (64, 1), (64, 64)),
]
problems = st.builds(
    Problem,
    images=st.integers(1, 3),
    groups=st.integers(1, 3),
    channels=st.sampled_from([4, 8, 20, 36]),
    outputs=st.integers(1, 20),
    size=st.tuples(st.integers(1, 19), st.integers(1, 75)),
    kernel=pair,
    stride=few,
    padding=st.tuples(*[st.integers(0, 3)] * 4),
    dilation=few,
    density=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    block=st.sampled_from(BLOCKS),
    channels_last=st.booleans(),
    residual=st.booleans(),
    residual_first=st.booleans(),
    act=st.sampled_from(["none", "relu", "relu6"]),
).filter(Problem.fits)


@pytest.mark.parametrize("name", [kernel.name for kernel in KERNELS if kernel.runnable])
@settings(max_examples=150, deadline=None)
@given(problem=problems)
def test_any_arguments(name: str, problem: Problem) -> None:
    check(next(kernel for kernel in KERNELS if kernel.name == name), problem)


@pytest.mark.parametrize("channels", [3, 64, 130])
@pytest.mark.parametrize("width", [7, 14, 28, 56, 64, 65])
@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 3)], ids=str)
def test_sizes_of_networks(
    kernel: cpu.Kernel, width: int, channels: int, kernel_size: Pair
) -> None:
    if kernel.op.startswith("nm") and channels % 4:
        channels += 4 - channels % 4
    around = (kernel_size[0] // 2,) * 4
    for stride in ((1, 1), (2, 2)):
        for last in (False, True):
            check(
                kernel,
                Problem(
                    channels=channels,
                    outputs=70,
                    size=(width, width),
                    kernel=kernel_size,
                    stride=stride,
                    padding=around,
                    density=0.2,
                    channels_last=last,
                    residual=True,
                ),
            )


def test_more_outputs_than_are_summed_together(kernel: cpu.Kernel) -> None:
    check(kernel, Problem(channels=8, outputs=1100, size=(5, 6), density=0.3))
    check(kernel, Problem(channels=4, outputs=700, groups=2, size=(5, 6), density=0.3))


@pytest.mark.parametrize("block", BLOCKS, ids=str)
@pytest.mark.parametrize(
    "kernel", [k for k in KERNELS if k.op == "bsr_conv2d"], ids=lambda k: k.name, indirect=True
)
def test_every_block(kernel: cpu.Kernel, block: Pair) -> None:
    """Blocks that an edge cuts, that lie across two taps, and strips that keep none."""
    whole = Problem(channels=11, outputs=70, size=(9, 33), density=0.1, block=block)
    for problem in (
        whole,
        replace(whole, residual=True, residual_first=True, act="relu6"),
        replace(whole, channels=150, residual=True, act="relu"),
        replace(whole, size=(9, 65), stride=(2, 2), density=0.3),
        replace(whole, groups=3, outputs=192, channels=5),
        replace(whole, channels_last=True, channels=16),
    ):
        check(kernel, problem)


def test_a_block_with_rows_of_two_groups_is_left_to_the_reference() -> None:
    problem = Problem(groups=2, outputs=6)
    x, weight, _, bias = problem.tensors("csr")
    mask = data.block_mask(12, 36, 4, 1, data.generator())
    packed = Bsr(4, 1).pack(weight.movedim(1, -1).flatten(1), mask)
    y = ops.bsr_conv2d(
        *(x, packed.values, packed.index, bias),
        out_channels=12,
        kernel_size=(3, 3),
        padding=(1, 1, 1, 1),
        groups=2,
    )
    judge.exact(y, problem.dense(x, weight, mask, bias))


def test_the_table_covers_what_the_sources_say() -> None:
    assert {kernel.op for kernel in KERNELS} == {"bsr_conv2d", "csr_conv2d", "nm_conv2d"}
