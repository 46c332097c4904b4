"""Every bsr kernel on every kind of block, by name, and on blocks that an edge cuts."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from secateur import _extension, ops
from secateur.backends import cpu
from secateur.formats import FORMATS, Packed
from secateur.formats.bsr import Bsr
from tests.support import data, judge, truth

pytestmark = pytest.mark.skipif(not _extension.load(), reason=_extension.reason())

KERNELS = [kernel for kernel in cpu.kernels() if kernel.op == "bsr_linear"]
SHAPES = [
    *((4, 1), (8, 1), (16, 1), (1, 8), (16, 16), (32, 32)),
    *((1, 1), (2, 1), (3, 5), (1, 4), (1, 17), (5, 1), (7, 3), (12, 2), (24, 1), (64, 1), (64, 64)),
]
SIZES = [(1, 1), (33, 257), (70, 131), (300, 64)]
ROWS = [1, 2, 8, 9, 16, 31, 64, 130]


@pytest.fixture(params=KERNELS, ids=lambda kernel: kernel.name)
def kernel(request: pytest.FixtureRequest) -> cpu.Kernel:
    """A bsr kernel that this machine can run."""
    found: cpu.Kernel = request.param
    if not found.runnable:
        pytest.skip(f"{found.name} needs {found.isa}; this machine has {cpu.isa()}")
    return found


def run(kernel: cpu.Kernel, packed: Packed, x: Tensor, bias: Tensor) -> Tensor | None:
    """Run exactly this kernel; None where it does not run the problem."""
    with cpu.forced(kernel.name), torch.no_grad():
        if cpu.pick(kernel.op, packed.index, len(x)) != kernel.name:
            return None
        return ops.bsr_linear(
            x, packed.values, packed.index, bias, out_features=packed.out_features, act="relu"
        )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_block_shape(kernel: cpu.Kernel, shape: tuple[int, int]) -> None:
    gen = data.generator()
    for (out, in_), rows in itertools.product(SIZES, ROWS):
        weight, x = data.integers((out, in_), gen), data.integers((rows, in_), gen)
        bias = data.integers((out,), gen)
        ragged = data.block_mask(out, in_, *shape, gen)
        ragged[: shape[0] * 2 : 2] &= data.random_mask(1, in_, 0.5, gen)  # fillers
        ragged[shape[0] * 2 : shape[0] * 3] = False  # a block row without blocks
        for mask in (ragged, torch.ones(out, in_, dtype=torch.bool)):
            packed = Bsr(*shape).pack(weight, mask)
            y = run(kernel, packed, data.nan_margins(x), bias)
            if y is not None:
                judge.exact_truth(y, truth.linear(x, weight, mask, bias, act="relu"))


@pytest.mark.parametrize("shape", [(4, 1), (16, 16), (1, 8), (3, 5)], ids=str)
def test_nothing_beyond_the_values_is_used(kernel: cpu.Kernel, shape: tuple[int, int]) -> None:
    """Lanes past a block's last weight hold its neighbour's; NaN there must not reach y."""
    gen = data.generator(1)
    out, in_ = 23, 70
    weight, mask = data.integers((out, in_), gen), data.block_mask(out, in_, *shape, gen)
    packed = Bsr(*shape).pack(weight, mask)
    slots = FORMATS.get("bsr").positions(packed.index)[0].numel()
    packed.values[slots:] = float("nan")
    for rows in (1, 5):
        x = data.integers((rows, in_), gen)
        y = run(kernel, packed, x, torch.zeros(out))
        if y is not None:
            judge.exact_truth(y, truth.linear(x, weight, mask, act="relu"))


@pytest.mark.parametrize(("at", "wrong"), [(24, 0), (24, 65), (25, 0), (25, 65), (24, 3), (25, 3)])
def test_a_damaged_block_shape_is_refused(at: int, wrong: int) -> None:
    mask = torch.ones(16, 16, dtype=torch.bool)
    packed = Bsr(4, 4).pack(torch.ones(16, 16), mask)
    x, index = torch.ones(2, 16), packed.index.clone()
    index[at] = wrong  # 3 divides neither the row block nor the K block
    with pytest.raises(RuntimeError, match="damaged"):
        torch.ops.secateur.bsr_linear_infer(x, packed.values, index, out_features=16)


def test_values_without_spare_ones_are_refused() -> None:
    packed = Bsr(4, 4).pack(torch.ones(16, 16), torch.ones(16, 16, dtype=torch.bool))
    short = packed.values[:256].clone()
    with pytest.raises(RuntimeError, match="256 and 16 spare ones"):
        torch.ops.secateur.bsr_linear_infer(torch.ones(2, 16), short, packed.index, out_features=16)
