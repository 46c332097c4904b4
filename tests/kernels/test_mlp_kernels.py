"""Every kernel of two layers in one, by name: equal to one layer after the other, or wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from secateur import _extension, ops
from secateur.backends import cpu
from secateur.formats import FORMATS, Layout, Packed
from tests.support import data, judge, truth

pytestmark = pytest.mark.skipif(not _extension.load(), reason=_extension.reason())

KERNELS = [kernel for kernel in cpu.kernels() if kernel.op.endswith("_mlp")]
OPS = {"csr": ops.csr_mlp, "nm": ops.nm_mlp}
FEWEST = 16  # rows the fused kernels take; below, the op is two calls
ROWS = [1, FEWEST - 1, *range(FEWEST, 131, 7), *data.sizes_around(32, 64, 128)[1:]]
# in, hidden, out; hidden beyond one row block, beyond what the second layer waits for, and ragged
SHAPES = [(4, 4, 4), (36, 20, 8), (24, 300, 12), (132, 1100, 40), (12, 768, 300)]


@dataclass(frozen=True)
class Layer:
    """A weight, dense and packed."""

    weight: Tensor
    mask: Tensor
    packed: Packed
    bias: Tensor


Draw = Callable[[tuple[int, ...], torch.Generator], Tensor]


def layer(kernel: cpu.Kernel, out: int, in_: int, draw: Draw, layout: Layout | None) -> Layer:
    gen = data.generator(out + in_)
    format = kernel.op.partition("_")[0]
    mask = data.nm_mask(out, in_, 1, 4, gen)
    if format == "csr":
        mask = data.random_mask(out, in_, 0.3, gen)
        mask[::3] = False
    weight = draw((out, in_), gen)
    return Layer(weight, mask, FORMATS.get(format).pack(weight, mask, layout), draw((out,), gen))


def layers(
    kernel: cpu.Kernel,
    shape: tuple[int, int, int],
    draw: Draw = data.integers,
    layouts: tuple[Layout | None, Layout | None] = (None, None),
) -> tuple[Layer, Layer]:
    in_, hidden, out = shape
    first = layer(kernel, hidden, in_, draw, layouts[0])
    return first, layer(kernel, out, hidden, draw, layouts[1])


@pytest.fixture(params=KERNELS, ids=lambda kernel: kernel.name)
def kernel(request: pytest.FixtureRequest) -> cpu.Kernel:
    """A kernel of the table that this machine can run."""
    found: cpu.Kernel = request.param
    if not found.runnable:
        pytest.skip(f"{found.name} needs {found.isa}; this machine has {cpu.isa()}")
    return found


def run(
    kernel: cpu.Kernel, one: Layer, two: Layer, x: Tensor, residual: Tensor | None, **acts: str
) -> Tensor:
    """Run exactly this kernel."""
    first, second = one.packed, two.packed
    with cpu.forced(kernel.name), torch.no_grad():
        assert cpu.pick(kernel.op, first.index, len(x)) == kernel.name
        return OPS[first.format](
            *(x, first.values, first.index, second.values, second.index),
            *(data.nan_margins(one.bias), data.nan_margins(two.bias), residual),
            hidden_features=first.out_features,
            out_features=second.out_features,
            **acts,
        )


def expected(
    one: Layer, two: Layer, x: Tensor, residual: Tensor | None, act: str, act_out: str = "none"
) -> truth.Truth:
    hidden = truth.linear(x, one.weight, one.mask, one.bias, act=act).y
    return truth.linear(hidden, two.weight, two.mask, two.bias, residual, act_out)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_row_count(kernel: cpu.Kernel, shape: tuple[int, int, int]) -> None:
    one, two = layers(kernel, shape)
    gen = data.generator(1)
    for rows in ROWS:
        x, residual = data.integers((rows, shape[0]), gen), data.integers((rows, shape[2]), gen)
        operands = data.nan_margins(x), data.nan_margins(residual)
        y = run(kernel, one, two, *operands, act="relu", act_out="relu")
        judge.exact_truth(y, expected(one, two, x, residual, "relu", "relu"))


@pytest.mark.parametrize("k_blocks", [(64, 256), (256, 192), (192, 64), (128, 100)], ids=str)
@pytest.mark.parametrize("row_blocks", [(1, 7), (300, 16), (512, 512), (600, 1)], ids=str)
def test_every_layout(
    kernel: cpu.Kernel, k_blocks: tuple[int, int], row_blocks: tuple[int, int]
) -> None:
    """Row blocks of the first layer and K blocks of the second need not meet."""
    layouts = tuple(Layout(*pair) for pair in zip(k_blocks, row_blocks, strict=True))
    one, two = layers(kernel, (260, 1300, 24), layouts=layouts)
    x = data.integers((40, 260), data.generator(2))
    judge.exact_truth(
        run(kernel, one, two, x, None, act="none"), expected(one, two, x, None, "none")
    )


def hidden_bound(one: Layer, x: Tensor, act: str) -> Tensor:
    """How far the first layer may be off: the forward error bound of `judge`."""
    t = truth.linear(x, one.weight, one.mask, one.bias, act=act)
    eps = torch.finfo(torch.float32).eps
    slope, ulps = judge.ACTIVATIONS[act]
    return slope * eps * ((t.terms + 2) * t.absolute + t.bias) + ulps * eps * t.pre.abs()


@pytest.mark.parametrize("act", judge.ACTIVATIONS)
def test_reals_stay_within_the_error_bound(kernel: cpu.Kernel, act: str) -> None:
    one, two = layers(kernel, (96, 700, 40), data.reals)
    gen = data.generator(3)
    for rows in (FEWEST, 65):
        x, residual = data.reals((rows, 96), gen), data.reals((rows, 40), gen)
        y = run(kernel, one, two, x, residual, act=act)
        wanted = expected(one, two, x, residual, act)
        # What the first layer is off by reaches y through |W2|.
        carried = truth.linear(hidden_bound(one, x, act), two.weight.abs(), two.mask)
        eps = torch.finfo(torch.float32).eps
        own = (wanted.terms + 2) * eps * (wanted.absolute + carried.y)
        bound = own + carried.y + eps * (wanted.bias + wanted.residual + wanted.y.abs())
        far = (y.double() - wanted.y).abs()
        assert (far <= bound).all(), f"off by {far.max():.3g}, allowed {bound.max():.3g}"


def test_infinity_at_a_pruned_position_is_not_seen(kernel: cpu.Kernel) -> None:
    one, two = layers(kernel, (24, 40, 8))
    one.mask[:, :4] = one.mask[:1, :4]  # the same columns pruned in every row
    packed = FORMATS.get(kernel.op.partition("_")[0]).pack(one.weight, one.mask)
    one = Layer(one.weight, one.mask, packed, one.bias)
    pruned = int((~one.mask[0, :4]).nonzero()[0])
    x = data.integers((33, 24), data.generator(4))
    clean = run(kernel, one, two, x, None, act="relu")
    x[:, pruned] = float("inf")
    judge.exact(run(kernel, one, two, x, None, act="relu"), clean)


def test_a_nan_stays_in_its_row(kernel: cpu.Kernel) -> None:
    one, two = layers(kernel, (24, 300, 8))
    x = data.integers((70, 24), data.generator(4))
    clean = run(kernel, one, two, x, None, act="relu")
    x[37] = float("nan")
    y = run(kernel, one, two, x, None, act="relu")
    judge.exact(torch.cat([y[:37], y[38:]]), torch.cat([clean[:37], clean[38:]]))


def test_x_that_is_not_contiguous(kernel: cpu.Kernel) -> None:
    one, two = layers(kernel, (12, 300, 8))
    wide = data.integers((2 * FEWEST, 3, 24), data.generator(5))
    for x in (wide[:, 0, :12], wide[:, 1, ::2], wide[:, 2, 12:].flip(0)):
        y = run(kernel, one, two, x, None, act="relu")
        judge.exact_truth(y, expected(one, two, x, None, "relu"))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("format", sorted(OPS))
def test_threads_share_the_rows_without_a_seam(format: str, threads: int) -> None:
    kernel = cpu.Kernel(f"{format}_mlp", "", "", True)
    one, two = layers(kernel, (260, 1100, 40))
    torch.set_num_threads(threads)
    for rows in (8, 48, 130):
        x = data.integers((rows, 260), data.generator(6))
        with torch.no_grad():
            y = OPS[format](
                *(x, one.packed.values, one.packed.index, two.packed.values, two.packed.index),
                *(one.bias, two.bias),
                hidden_features=1100,
                out_features=40,
                act="relu",
            )
        judge.exact_truth(y, expected(one, two, x, None, "relu"))


def test_both_formats_have_a_kernel_for_every_machine() -> None:
    names = {kernel.name for kernel in KERNELS}
    assert {f"{format}_mlp_portable" for format in OPS} <= names
