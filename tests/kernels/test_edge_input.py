"""Input at the edge of what is allowed, for every kernel by name: right, or refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from secateur import _extension, ops
from secateur.backends import cpu
from secateur.formats import FORMATS, Packed
from tests.support import data, judge, truth

pytestmark = pytest.mark.skipif(not _extension.load(), reason=_extension.reason())

OUT, IN = 37, 260
ROWS = (1, 3, 16, 65)
NOT_NUMBERS = [float("inf"), float("-inf"), float("nan")]


@pytest.fixture(params=cpu.kernels(), ids=lambda kernel: kernel.name)
def kernel(request: pytest.FixtureRequest) -> cpu.Kernel:
    """A kernel of a format's linear op that this machine can run."""
    found: cpu.Kernel = request.param
    if not found.runnable:
        pytest.skip(f"{found.name} needs {found.isa}; this machine has {cpu.isa()}")
    if not found.op.endswith("_linear") or found.op.removesuffix("_linear") not in FORMATS.names():
        pytest.skip(f"{found.name} is of {found.op}, which has tests of its own")
    return found


def pack(kernel: cpu.Kernel, weight: Tensor, mask: Tensor) -> Packed:
    return FORMATS.get(kernel.op.removesuffix("_linear")).pack(weight, mask)


def run(kernel: cpu.Kernel, packed: Packed, x: Tensor, **extra: object) -> Tensor | None:
    """Run exactly this kernel; None where it does not run this number of rows."""
    rows = x.numel() // packed.in_features
    with cpu.forced(kernel.name):
        if cpu.pick(kernel.op, packed.index, rows) != kernel.name:
            return None
        op = getattr(ops, kernel.op)
        y: Tensor = op(x, packed.values, packed.index, out_features=packed.out_features, **extra)
        return y


def case(kernel: cpu.Kernel, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return a weight, a half-full mask of the kernel's format, and x, all whole numbers."""
    gen = data.generator()
    weight, mask = (
        data.integers((OUT, IN), gen),
        data.mask_for(kernel.op.removesuffix("_linear"), OUT, IN, gen),
    )
    return weight, mask, data.integers((rows, IN), gen)


@pytest.mark.parametrize("leading", [(0,), (3, 0), (0, 5)], ids=str)
def test_an_empty_batch_gives_an_empty_result(kernel: cpu.Kernel, leading: tuple[int, ...]) -> None:
    weight, mask, _ = case(kernel, 1)
    packed = pack(kernel, weight, mask)
    with cpu.forced(kernel.name):
        op = getattr(ops, kernel.op)
        x = torch.empty(*leading, IN, requires_grad=True)
        y = op(x, packed.values, packed.index, torch.ones(OUT), out_features=OUT, act="gelu")
    assert y.shape == (*leading, OUT)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("number", NOT_NUMBERS)
def test_a_kept_weight_that_is_no_finite_number_stays_in_its_row(
    kernel: cpu.Kernel, number: float
) -> None:
    """At the ends of rows and blocks too, where a vector reaches into the next row's weights."""
    weight, mask, _ = case(kernel, 1)
    rows, columns = mask.nonzero(as_tuple=True)
    last_of_row = [int(columns[rows == row].max()) for row in range(0, OUT, 5)]
    first_of_row = [int(columns[rows == row].min()) for row in range(1, OUT, 5)]
    in_first_block = [int(columns[(rows == r) & (columns < 128)].max()) for r in range(2, OUT, 5)]
    for start, places in ((0, last_of_row), (1, first_of_row), (2, in_first_block)):
        weight[torch.arange(start, OUT, 5), torch.tensor(places)] = number
    packed = pack(kernel, weight, mask)
    for count in ROWS:
        x = data.integers((count, IN), data.generator(1)) + 5.0  # never zero
        y = run(kernel, packed, x)
        if y is not None:
            wanted = truth.linear(x, weight, mask).y.float()
            judge.exact(y.nan_to_num(7.5, 8.5, 9.5), wanted.nan_to_num(7.5, 8.5, 9.5))
            assert wanted[:, 3].isfinite().all()


@pytest.mark.parametrize("number", NOT_NUMBERS)
def test_a_row_of_x_that_is_no_finite_number_stays_in_its_row(
    kernel: cpu.Kernel, number: float
) -> None:
    weight, mask, _ = case(kernel, 1)
    weight = weight.abs() + 1
    packed = pack(kernel, weight, mask)
    for count in ROWS:
        x = case(kernel, count)[2]
        x[count // 2] = number
        y = run(kernel, packed, x)
        if y is not None:
            wanted = truth.linear(x, weight, mask).y.float()
            judge.exact(y.nan_to_num(7.5, 8.5, 9.5), wanted.nan_to_num(7.5, 8.5, 9.5))


def views(x: Tensor) -> dict[str, Tensor]:
    """Return tensors with x's numbers and other strides."""
    wide = torch.full((2 * x.shape[0], 3 * x.shape[1]), float("nan"))
    wide[::2, ::3] = x
    return {
        "transposed": x.T.contiguous().T,
        "sliced columns": torch.cat([x, x * float("nan")], dim=1)[:, : x.shape[1]],
        "strided both ways": wide[::2, ::3],
        "shifted by one": torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
    }


def test_x_of_any_strides_which_requires_grad(kernel: cpu.Kernel) -> None:
    weight, mask, _ = case(kernel, 1)
    packed = pack(kernel, weight, mask)
    for count in ROWS:
        x = case(kernel, count)[2]
        for name, view in views(x).items():
            leaf = view.detach().requires_grad_()
            y = run(kernel, packed, leaf)
            if y is None:
                continue
            judge.exact_truth(y, truth.linear(x, weight, mask))
            assert y.requires_grad, name
            grad = data.integers(y.shape, data.generator(2))
            y.backward(grad)
            judge.exact_truth(leaf.grad, truth.grad_x(grad, weight, mask))


def test_rows_of_a_weight_that_keep_nothing(kernel: cpu.Kernel) -> None:
    weight, mask, _ = case(kernel, 1)
    mask[::3] = False
    mask[-1] = False
    any_mask = FORMATS.get(kernel.op.removesuffix("_linear")).fits(mask) is None
    packed = pack(kernel, weight, mask) if any_mask else _filled(kernel, weight, mask)
    for count in ROWS:
        x = case(kernel, count)[2]
        bias = data.integers((OUT,), data.generator(3))
        y = run(kernel, packed, x, bias=bias)
        if y is not None:
            judge.exact_truth(y, truth.linear(x, weight, mask, bias))


def _filled(kernel: cpu.Kernel, weight: Tensor, mask: Tensor) -> Packed:
    """Pack a mask with too many fillers for nm to be inferred, by naming its pattern."""
    fmt = type(FORMATS.get(kernel.op.removesuffix("_linear")))
    return fmt(2, 4).pack(weight, mask)  # type: ignore[call-arg]
