"""Every kernel that takes more than float32: what it reads, what it writes, how it rounds."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from secateur import _extension, ops
from secateur.backends import cpu
from secateur.formats import FORMATS, Packed
from tests.support import data, judge, truth

pytestmark = pytest.mark.skipif(not _extension.load(), reason=_extension.reason())

KERNELS = [k for k in cpu.kernels() if k.op in {f"{name}_linear" for name in FORMATS.names()}]
X_TYPES = [torch.float32, torch.bfloat16, torch.float16]
VALUE_TYPES = [*X_TYPES, torch.int8]
ROWS = [1, 2, 17, 33, 130]


@pytest.fixture(params=KERNELS, ids=lambda kernel: kernel.name)
def kernel(request: pytest.FixtureRequest) -> cpu.Kernel:
    """A kernel that this machine can run."""
    found: cpu.Kernel = request.param
    if not found.runnable:
        pytest.skip(f"{found.name} needs {found.isa}; this machine has {cpu.isa()}")
    return found


def run(kernel: cpu.Kernel, packed: Packed, x: Tensor, **extra: object) -> Tensor | None:
    """Run exactly this kernel; None where it does not take the problem."""
    rows = x.numel() // packed.in_features
    linear = getattr(ops, f"{packed.format}_linear")
    with cpu.forced(kernel.name), torch.no_grad():
        if cpu.pick(kernel.op, packed.index, rows, plain=False) != kernel.name:
            return None
        return linear(x, packed.values, packed.index, out_features=packed.out_features, **extra)


@pytest.mark.parametrize("value_type", VALUE_TYPES, ids=str)
@pytest.mark.parametrize("x_type", X_TYPES, ids=str)
def test_whole_numbers_come_out_rounded_once(
    kernel: cpu.Kernel, x_type: torch.dtype, value_type: torch.dtype
) -> None:
    fmt = FORMATS.get(kernel.op.removesuffix("_linear"))
    gen = data.generator()
    ran = 0
    for (out, in_), rows in itertools.product([(5, 4), (70, 260)], ROWS):
        for mask in data.masks(out, in_, gen).values():
            if fmt.fits(mask) is not None:
                continue
            weight, x = data.integers((out, in_), gen), data.integers((rows, in_), gen)
            bias, residual = data.integers((out,), gen), data.integers((rows, out), gen)
            packed, scale = data.retyped(fmt.pack(weight, mask), value_type)
            extra = {"bias": bias.to(x_type), "residual": residual.to(x_type), "scale": scale}
            y = run(kernel, packed, data.nan_margins(x.to(x_type)), act="relu", **extra)
            if y is None:
                continue
            ran += 1
            dense = weight if scale is None else weight * scale[:, None]
            wanted = truth.linear(x, dense, mask, bias, residual, "relu").y
            judge.exact(y, wanted.to(x_type))
    if ran == 0:
        pytest.skip(f"{kernel.name} takes float32 only, or none of these problems")


@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_every_number_of_sixteen_bits(kernel: cpu.Kernel, dtype: torch.dtype, rows: int) -> None:
    """All 65536 go in and come out; times 1/3 they are rounded as torch rounds."""
    fmt = FORMATS.get(kernel.op.removesuffix("_linear"))
    width = 65536 // rows
    every = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype).reshape(rows, width)
    mask = torch.zeros(64, 128, dtype=torch.bool)
    mask[torch.arange(64), 2 * torch.arange(64)] = True  # one weight a row; fits 1:2 as well
    if fmt.fits(mask) is not None:
        pytest.skip(f"{kernel.name} is of a format this mask does not fit")
    for factor in (1.0, 1 / 3):
        packed = fmt.pack(torch.full((64, 128), factor), mask)
        for start in range(0, width, 64):
            x = every[:, start : start + 64].repeat_interleave(2, dim=1)
            y = run(kernel, packed, x)
            if y is None:
                pytest.skip(f"{kernel.name} takes float32 only, or not {rows} rows")
            wanted = (every[:, start : start + 64].float() * torch.tensor(factor)).to(dtype)
            number = ~wanted.isnan()
            judge.exact(y[number], wanted[number])
            assert bool(y[~number].isnan().all())


def test_int8_values_are_the_scale_times_the_integer(kernel: cpu.Kernel) -> None:
    fmt = FORMATS.get(kernel.op.removesuffix("_linear"))
    gen = data.generator(3)
    mask = data.nm_mask(70, 260, 2, 4, gen)
    if fmt.fits(mask) is not None:
        pytest.skip(f"{kernel.name} is of a format this mask does not fit")
    whole = torch.randint(-127, 128, (70, 260), generator=gen).float()
    scale = data.reals((70,), gen).abs()
    packed = fmt.pack(whole, mask)
    quantized = Packed(packed.format, packed.values.to(torch.int8), packed.index, 260, 70)
    for rows in (1, 40):
        x = data.reals((rows, 260), gen)
        y = run(kernel, quantized, x, scale=scale)
        if y is not None:
            # One rounding more than with float values: the product with the scale.
            judge.within_bound(y, truth.linear(x, whole * scale[:, None].double(), mask))
