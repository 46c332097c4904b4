"""Numbers that are not finite, x of any strides, and images of no pixels, through every kernel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from secateur import _extension, ops
from secateur.backends import cpu
from secateur.formats import Packed
from tests.kernels.test_conv_kernels import KERNELS, Problem
from tests.support import judge

pytestmark = pytest.mark.skipif(not _extension.load(), reason=_extension.reason())

PROBLEM = Problem(channels=8, outputs=24, size=(9, 21), padding=(0, 0, 0, 0), density=0.4)
NOT_NUMBERS = [float("inf"), -float("inf"), float("nan")]


@pytest.fixture(params=KERNELS, ids=lambda kernel: kernel.name)
def kernel(request: pytest.FixtureRequest) -> cpu.Kernel:
    found: cpu.Kernel = request.param
    if not found.runnable:
        pytest.skip(f"{found.name} needs {found.isa}; this machine has {cpu.isa()}")
    return found


def tensors(kernel: cpu.Kernel) -> tuple[Tensor, Tensor, Tensor, Tensor, Packed]:
    """x that is never zero, the weight and its mask, the bias, and the weight packed."""
    format = kernel.op.partition("_")[0]
    x, weight, mask, bias = PROBLEM.tensors(format)
    return x.abs() + 1, weight, mask, bias, PROBLEM.pack(format, weight, mask)


def run(kernel: cpu.Kernel, x: Tensor, packed: Packed, bias: Tensor | None) -> Tensor:
    with cpu.forced(kernel.name):
        y: Tensor = getattr(ops, kernel.op)(
            *(x, packed.values, packed.index, bias),
            out_channels=PROBLEM.outputs,
            kernel_size=PROBLEM.kernel,
        )
    return y


def alike(y: Tensor, wanted: Tensor) -> None:
    """Both have the same numbers, infinities and NaNs."""
    judge.exact(y.nan_to_num(7.5, 8.5, 9.5), wanted.nan_to_num(7.5, 8.5, 9.5))


@pytest.mark.parametrize("number", NOT_NUMBERS)
def test_a_kept_weight_that_is_no_finite_number_stays_in_its_output(
    kernel: cpu.Kernel, number: float
) -> None:
    """At the ends of rows too, where a vector reaches into the next output's weights."""
    format = kernel.op.partition("_")[0]
    x, weight, mask, bias, _ = tensors(kernel)
    weight = weight.movedim(1, -1).contiguous()
    for output in range(0, PROBLEM.outputs, 5):
        kept = mask[output].nonzero().flatten()
        weight[output].view(-1)[kept[-1 if output % 2 else 0]] = number
    weight = weight.movedim(-1, 1)
    y = run(kernel, x, PROBLEM.pack(format, weight, mask), bias)
    alike(y, PROBLEM.dense(x, weight, mask, bias))
    assert not y[:, 0].isfinite().any()
    assert y[:, 1].isfinite().all()


@pytest.mark.parametrize("number", NOT_NUMBERS)
def test_a_pixel_that_is_no_finite_number_is_seen_by_the_taps_that_are_kept(
    kernel: cpu.Kernel, number: float
) -> None:
    x, _, mask, bias, packed = tensors(kernel)
    clean = run(kernel, x, packed, bias)
    high, wide, channel = 4, 10, 3
    x[0, channel, high, wide] = number
    y = run(kernel, x, packed, bias)
    taps = mask.view(PROBLEM.outputs, *PROBLEM.kernel, -1)[..., channel]
    seen = torch.zeros(y.shape, dtype=torch.bool)
    for p in range(PROBLEM.kernel[0]):
        for q in range(PROBLEM.kernel[1]):
            seen[0, :, high - p, wide - q] = taps[:, p, q]
    spoilt = ~y.isfinite()
    judge.exact(y.masked_fill(spoilt, 0), clean.masked_fill(spoilt, 0))
    if kernel.op.startswith("bsr"):  # the zeros that fill its blocks take part
        assert spoilt[seen].all()
    else:
        judge.exact(spoilt, seen)


def views(x: Tensor) -> dict[str, Tensor]:
    """Return tensors with x's numbers and other strides."""
    wide = torch.full((*x.shape[:-1], 2 * x.shape[-1]), float("nan"))
    wide[..., ::2] = x
    return {
        "transposed": x.mT.contiguous().mT,
        "sliced channels": torch.cat([x, x * float("nan")], dim=1)[:, : x.shape[1]],
        "every other column": wide[..., ::2],
        "shifted by one": torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
        "channels last": x.contiguous(memory_format=torch.channels_last),
        "one image twice": x.expand(2, -1, -1, -1),
    }


def test_x_of_any_strides_which_requires_grad(kernel: cpu.Kernel) -> None:
    x, weight, mask, bias, packed = tensors(kernel)
    for view in views(x).values():
        leaf = view.detach().requires_grad_()
        y = run(kernel, leaf, packed, bias)
        judge.exact(y.detach(), PROBLEM.dense(view, weight, mask, bias))
        y.sum().backward()
        assert leaf.grad is not None
        judge.exact(leaf.grad[0], leaf.grad[-1])
        kept = mask.view(PROBLEM.outputs, *PROBLEM.kernel, -1).movedim(-1, 1)
        dense = leaf.detach().clone().requires_grad_()
        torch.nn.functional.conv2d(dense, weight * kept).sum().backward()
        assert dense.grad is not None
        judge.exact(leaf.grad, dense.grad)


@pytest.mark.parametrize("shape", [(0, 8, 9, 21), (2, 8, 2, 21), (2, 8, 9, 1), (2, 8, 0, 0)])
def test_images_of_no_pixels_and_no_images(kernel: cpu.Kernel, shape: tuple[int, ...]) -> None:
    """A kernel larger than x leaves nothing of y; the gradient is zeros of x's shape."""
    *_, bias, packed = tensors(kernel)
    x = torch.ones(shape, requires_grad=True)
    y = run(kernel, x, packed, bias)
    assert y.shape == (shape[0], 24, max(0, shape[2] - 2), max(0, shape[3] - 2))
    y.sum().backward()
    assert x.grad is not None
    judge.exact(x.grad, torch.zeros(shape))


def test_weights_and_pixels_are_not_changed(kernel: cpu.Kernel) -> None:
    x, _, _, bias, packed = tensors(kernel)
    before = [t.clone() for t in (x, packed.values, packed.index, bias)]
    run(kernel, x, packed, bias)
    for tensor, known in zip((x, packed.values, packed.index, bias), before, strict=True):
        judge.exact(tensor, known)
