"""Every CPU kernel of the table, by name, on integer data: equal to the truth or wrong."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from secateur import _extension, ops
from secateur.backends import cpu
from secateur.formats import FORMATS, Layout, Packed
from tests.support import data, judge, truth

pytestmark = pytest.mark.skipif(not _extension.load(), reason=_extension.reason())

KERNELS = [k for k in cpu.kernels() if k.op in {f"{name}_linear" for name in FORMATS.names()}]
ROWS = [1, 2, *data.sizes_around(16, 64)[1:], 33, 130]
WEIGHTS = [(1, 1), (5, 4), (17, 33), (64, 144), (300, 260), (65, 513)]


@pytest.fixture(params=KERNELS, ids=lambda kernel: kernel.name)
def kernel(request: pytest.FixtureRequest) -> cpu.Kernel:
    """A kernel of the table that this machine can run."""
    found: cpu.Kernel = request.param
    if not found.runnable:
        pytest.skip(f"{found.name} needs {found.isa}; this machine has {cpu.isa()}")
    return found


def format_of(kernel: cpu.Kernel) -> str:
    return kernel.op.partition("_")[0]


def pack(kernel: cpu.Kernel, weight: Tensor, mask: Tensor, layout: Layout | None) -> Packed | None:
    """Pack for the kernel's op; None where the mask is not of its format."""
    fmt = FORMATS.get(format_of(kernel))
    return fmt.pack(weight, mask, layout) if fmt.fits(mask) is None else None


def run(kernel: cpu.Kernel, packed: Packed, x: Tensor, **extra: object) -> Tensor:
    """Run exactly this kernel, where it can run the problem at all."""
    rows = x.numel() // max(1, packed.in_features)
    with cpu.forced(kernel.name), torch.no_grad():
        if cpu.pick(kernel.op, packed.index, rows) != kernel.name:
            return torch.empty(0)
        return getattr(ops, kernel.op)(
            x, packed.values, packed.index, out_features=packed.out_features, **extra
        )


@pytest.mark.parametrize(("out", "in_"), WEIGHTS, ids=str)
def test_every_mask_and_row_count(kernel: cpu.Kernel, out: int, in_: int) -> None:
    gen = data.generator()
    ran = 0
    made = {}
    for name, mask in data.masks(out, in_, gen).items():
        weight, bias = data.integers((out, in_), gen), data.integers((out,), gen)
        packed = pack(kernel, weight, mask, None)
        if packed is not None:
            made[name] = mask, weight, bias, packed
    for rows, (name, (mask, weight, bias, packed)) in itertools.product(ROWS, made.items()):
        x, residual = data.integers((rows, in_), gen), data.integers((rows, out), gen)
        y = run(kernel, packed, data.nan_margins(x), bias=bias, residual=residual, act="relu")
        if y.numel() == 0:
            continue
        ran += 1
        expected = truth.linear(x, weight, mask, bias, residual, "relu")
        try:
            judge.exact_truth(y, expected)
        except AssertionError as error:
            raise AssertionError(f"{kernel.name}, {rows} rows, {name}: {error}") from error
    if ran == 0:
        pytest.skip(f"{kernel.name} runs none of these problems")


@pytest.mark.parametrize("k_block", [64, 128, 192, 256])
@pytest.mark.parametrize("row_block", [1, 16, 512])
def test_every_layout(kernel: cpu.Kernel, k_block: int, row_block: int) -> None:
    """An index says how it was cut; a kernel must not assume today's defaults."""
    gen = data.generator(1)
    out, in_ = 40, 520
    weight, mask = data.integers((out, in_), gen), data.mask_for(format_of(kernel), out, in_, gen)
    if format_of(kernel) == "bsr":
        row_block *= 4  # whole blocks
    packed = pack(kernel, weight, mask, Layout(k_block, row_block))
    assert packed is not None
    for rows in (1, 7, 64):
        x = data.integers((rows, in_), gen)
        y = run(kernel, packed, x)
        if y.numel():
            judge.exact_truth(y, truth.linear(x, weight, mask))


def test_reals_stay_within_the_error_bound(kernel: cpu.Kernel) -> None:
    gen = data.generator(2)
    out, in_ = 70, 300
    weight, mask = data.reals((out, in_), gen), data.mask_for(format_of(kernel), out, in_, gen)
    bias = data.reals((out,), gen)
    packed = pack(kernel, weight, mask, None)
    assert packed is not None
    for rows in (1, 40, 65):
        x = data.reals((rows, in_), gen)
        for act in judge.ACTIVATIONS:
            y = run(kernel, packed, x, bias=bias, act=act)
            if y.numel():
                judge.within_bound(y, truth.linear(x, weight, mask, bias, act=act))


def test_infinity_at_a_pruned_position_is_not_seen(kernel: cpu.Kernel) -> None:
    gen = data.generator(3)
    out, in_ = 33, 256
    mask = data.mask_for(format_of(kernel), out, in_, gen)
    mask[:, :8] = mask[:1, :8]  # the same columns pruned in every row
    pruned = int((~mask[0, :8]).nonzero()[0])
    weight = data.integers((out, in_), gen)
    packed = pack(kernel, weight, mask, None)
    assert packed is not None
    for rows in (1, 33):
        x = data.integers((rows, in_), gen)
        clean = run(kernel, packed, x)
        x[:, pruned] = float("inf")
        judge.exact(run(kernel, packed, x), clean)


def test_x_that_is_not_contiguous(kernel: cpu.Kernel) -> None:
    gen = data.generator(4)
    out, in_ = 24, 132
    weight, mask = data.integers((out, in_), gen), data.mask_for(format_of(kernel), out, in_, gen)
    packed = pack(kernel, weight, mask, None)
    assert packed is not None
    wide = data.integers((6, 2, 2 * in_), gen)
    for x in (wide[:, 0, :in_], wide[:, 1, ::2], wide[..., :in_], wide[0, 0, in_:].flip(0)):
        y = run(kernel, packed, x)
        if y.numel():
            judge.exact_truth(y, truth.linear(x, weight, mask))


def test_the_table_covers_what_the_sources_say() -> None:
    ops_there = {kernel.op for kernel in KERNELS}
    assert ops_there == {"bitmap_linear", "bsr_linear", "csr_linear", "nm_linear", "sell_linear"}
    for op in ops_there:
        assert f"{op}_portable" in {kernel.name for kernel in KERNELS}
    assert len({kernel.name for kernel in KERNELS}) == len(KERNELS)


def test_forcing_an_unknown_kernel_lists_the_known() -> None:
    with pytest.raises(ValueError, match="csr_linear_portable"), cpu.forced("csr_linear_abacus"):
        pass


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_work_without_a_seam(threads: int) -> None:
    gen = data.generator(5)
    out, in_ = 1300, 520
    weight, mask = data.integers((out, in_), gen), data.random_mask(out, in_, 0.5, gen)
    packed = FORMATS.get("csr").pack(weight, mask)
    torch.set_num_threads(threads)
    for rows in (1, 8, 17, 100):
        x = data.integers((rows, in_), gen)
        with torch.no_grad():
            y = ops.csr_linear(x, packed.values, packed.index, out_features=out)
        judge.exact_truth(y, truth.linear(x, weight, mask))


@pytest.mark.parametrize(
    ("offset", "size", "byte"),
    [(8, 4, 0), (12, 4, 0), (20, 2, 0), (22, 2, 0), (48, 4, 255)],
    ids=["in_features", "out_features", "k_block", "row_block", "columns"],
)
def test_a_damaged_header_is_refused_before_a_kernel_sees_it(
    offset: int, size: int, byte: int
) -> None:
    mask = torch.ones(8, 16, dtype=torch.bool)
    packed = FORMATS.get("csr").pack(torch.ones(8, 16), mask)
    index = packed.index.clone()
    index[offset : offset + size] = byte
    with pytest.raises(RuntimeError, match="damaged"):
        torch.ops.secateur.csr_linear_infer(torch.ones(2, 16), packed.values, index, out_features=8)
