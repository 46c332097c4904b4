"""Every kernel for the gradient of the kept weights, by name, on integers: equal or wrong."""

from __future__ import annotations

import itertools

import pytest
import torch

from secateur import _extension
from secateur.backends import cpu
from secateur.formats import FORMATS, Layout, Packed
from tests.support import data, judge, truth

pytestmark = pytest.mark.skipif(not _extension.load(), reason=_extension.reason())

KERNELS = [kernel for kernel in cpu.kernels() if kernel.op.endswith("_linear_dw")]
TOKENS = [1, 3, 9, *data.sizes_around(16, 32, 64)[1:], 97, 130]  # tiles of every width, and half


@pytest.fixture(params=KERNELS, ids=lambda kernel: kernel.name)
def kernel(request: pytest.FixtureRequest) -> cpu.Kernel:
    """A kernel of the table that this machine can run."""
    found: cpu.Kernel = request.param
    if not found.runnable:
        pytest.skip(f"{found.name} needs {found.isa}; this machine has {cpu.isa()}")
    return found


def format_of(kernel: cpu.Kernel) -> str:
    return kernel.op.removesuffix("_linear_dw")


def run(kernel: cpu.Kernel, packed: Packed, grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Run exactly this kernel."""
    with cpu.forced(kernel.name):
        assert cpu.pick(kernel.op, packed.index, len(x)) == kernel.name
        op = getattr(torch.ops.secateur, kernel.op)
        return op(grad, x, packed.index, packed.values.numel())


def check(values: torch.Tensor, packed: Packed, grad: torch.Tensor, x: torch.Tensor) -> None:
    """Compare with grad_yᵀ x at every slot, and the padding with zero."""
    rows, columns = FORMATS.get(packed.format).positions(packed.index)
    wanted = truth.grad_weight(grad, x, torch.ones(packed.out_features, packed.in_features) > 0).y
    judge.exact(values[: len(rows)], wanted[rows, columns].float())
    assert not bool(values[len(rows) :].any())


@pytest.mark.parametrize(("out", "in_"), [(1, 1), (5, 4), (17, 33), (300, 260)], ids=str)
def test_every_mask_and_token_count(kernel: cpu.Kernel, out: int, in_: int) -> None:
    fmt, gen, ran = FORMATS.get(format_of(kernel)), data.generator(), 0
    for tokens, mask in itertools.product(TOKENS, data.masks(out, in_, gen).values()):
        if fmt.fits(mask) is not None:
            continue
        packed = fmt.pack(mask.float(), mask)
        grad, x = data.integers((tokens, out), gen), data.integers((tokens, in_), gen)
        values = run(kernel, packed, data.nan_margins(grad), data.nan_margins(x))
        check(values, packed, grad, x)
        ran += 1
    if not ran:
        pytest.skip(f"no mask of {out} x {in_} fits {kernel.name}")


@pytest.mark.parametrize("layout", [Layout(64, 16), Layout(128, 1), Layout(256, 512)], ids=str)
def test_every_layout(kernel: cpu.Kernel, layout: Layout) -> None:
    gen = data.generator(1)
    mask = data.nm_mask(40, 520, 2, 4, gen)
    packed = FORMATS.get(format_of(kernel)).pack(mask.float(), mask, layout)
    grad, x = data.integers((70, 40), gen), data.integers((70, 520), gen)
    check(run(kernel, packed, grad, x), packed, grad, x)


def test_more_tokens_than_are_packed_at_once(kernel: cpu.Kernel) -> None:
    gen = data.generator(2)
    out, in_, tokens = 4, 9000, 600
    mask = data.nm_mask(out, in_, 2, 4, gen)
    packed = FORMATS.get(format_of(kernel)).pack(mask.float(), mask)
    grad, x = data.integers((tokens, out), gen), data.integers((tokens, in_), gen)
    check(run(kernel, packed, grad, x), packed, grad, x)


def test_operands_that_are_not_contiguous(kernel: cpu.Kernel) -> None:
    gen = data.generator(3)
    mask = data.nm_mask(24, 132, 2, 4, gen)
    packed = FORMATS.get(format_of(kernel)).pack(mask.float(), mask)
    grad, x = data.integers((48, 6), gen).T[:, ::2], data.integers((6, 264), gen)[:, :132]
    grad = grad.contiguous().T.contiguous().T  # column-major
    check(run(kernel, packed, grad, x), packed, grad, x)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_work_without_a_seam(kernel: cpu.Kernel, threads: int) -> None:
    gen = data.generator(4)
    mask = data.nm_mask(1300, 520, 2, 4, gen)
    packed = FORMATS.get(format_of(kernel)).pack(mask.float(), mask)
    grad, x = data.integers((33, 1300), gen), data.integers((33, 520), gen)
    torch.set_num_threads(threads)
    check(run(kernel, packed, grad, x), packed, grad, x)


def test_no_tokens_give_zeros(kernel: cpu.Kernel) -> None:
    mask = data.nm_mask(8, 16, 2, 4, data.generator())
    packed = FORMATS.get(format_of(kernel)).pack(mask.float(), mask)
    values = run(kernel, packed, torch.ones(0, 8), torch.ones(0, 16))
    assert values.shape == packed.values.shape
    assert not bool(values.any())


def test_what_does_not_fit_is_refused(kernel: cpu.Kernel) -> None:
    mask = data.nm_mask(8, 16, 2, 4, data.generator())
    packed = FORMATS.get(format_of(kernel)).pack(mask.float(), mask)
    op = getattr(torch.ops.secateur, kernel.op)
    length = packed.values.numel()
    for grad, x, slots, words in [
        (torch.ones(3, 7), torch.ones(3, 16), length, "must end in out_features"),
        (torch.ones(3, 8), torch.ones(2, 16), length, "equally many rows"),
        (torch.ones(3, 8), torch.ones(3, 16), 5, "length is 5"),
    ]:
        with pytest.raises(RuntimeError, match=words):
            op(grad, x, packed.index, slots)
