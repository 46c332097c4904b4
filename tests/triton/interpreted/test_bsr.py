"""bsr_linear in Triton's interpreter: equal to the truth on integers, within the bound on reals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from secateur import ops
from secateur.backends.triton import _bsr_linear as triton_bsr
from secateur.backends.triton._launch import Tail
from secateur.formats import FORMATS, Packed
from secateur.formats.bsr import Bsr
from secateur.formats.bsr_index import bsr_index
from tests.support import data, judge, truth

BLOCKS = [(16, 16), (32, 32), (64, 64), (32, 16), (8, 64), (16, 8)]
verify = pytest.mark.verify
ROWS = [1, 17, *(pytest.param(rows, marks=verify) for rows in (15, 33, 65))]
TYPES = [torch.float32, torch.float16, torch.bfloat16]
PAIRS = [
    pytest.param(block, dtype, marks=() if at % 3 == kind else verify)
    for at, block in enumerate(BLOCKS)
    for kind, dtype in enumerate(TYPES)
]


def made(
    block: tuple[int, int], size: tuple[int, int], dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Packed]:
    """Return weight, mask and packed weight; the second strip is empty where there is one."""
    gen = data.generator()
    mask = data.block_mask(*size, *block, gen)
    mask[block[0] : 2 * block[0]] = False
    weight = data.integers(size, gen, dtype)
    return weight, mask, Bsr(*block).pack(weight, mask)


def run(packed: Packed, x: Tensor, **extra: object) -> Tensor:
    return triton_bsr.bsr_linear(
        x, packed.values, packed.index, out_features=packed.out_features, **extra
    )


@pytest.mark.parametrize(("block", "dtype"), PAIRS, ids=str)
def test_every_block_and_type(block: tuple[int, int], dtype: torch.dtype) -> None:
    gen = data.generator(1)
    size = 3 * block[0], 3 * block[1]
    weight, mask, packed = made(block, size, dtype)
    x, bias, residual = (
        data.integers(s, gen, dtype) for s in ((17, size[1]), size[:1], (17, size[0]))
    )
    y = run(packed, data.nan_margins(x), bias=bias, residual=residual, act="relu")
    judge.exact_truth(y, truth.linear(x, weight, mask, bias, residual, "relu"))
    grad = data.integers((17, size[0]), gen, dtype)
    values, index = packed.values, packed.index
    dx = triton_bsr.bsr_linear_dx(grad, values, index, in_features=size[1])
    judge.exact_truth(dx, truth.grad_x(grad, weight, mask))
    dw = triton_bsr.bsr_linear_dw(grad, x, index, values.numel())
    judge.exact(dw, ops.bsr_linear.dw(grad, x, index, values.numel()))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("size", [(40, 50), (33, 64)], ids=str)
def test_rows_and_edges_off_the_tile(rows: int, size: tuple[int, int]) -> None:
    gen = data.generator(2)
    weight, mask, packed = made((16, 16), size)
    x = data.integers((rows, size[1]), gen)
    judge.exact_truth(run(packed, data.nan_margins(x)), truth.linear(x, weight, mask))
    grad = data.integers((rows, size[0]), gen)
    dx = triton_bsr.bsr_linear_dx(
        data.nan_margins(grad), packed.values, packed.index, in_features=size[1]
    )
    judge.exact_truth(dx, truth.grad_x(grad, weight, mask))
    length = packed.values.numel()
    dw = triton_bsr.bsr_linear_dw(data.nan_margins(grad), data.nan_margins(x), packed.index, length)
    judge.exact(dw, ops.bsr_linear.dw(grad, x, packed.index, length))


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=verify)])
def test_sums_in_parts_are_the_same(count: int) -> None:
    gen = data.generator(3)
    weight, mask, packed = made((16, 16), (40, 200))
    strips, length = bsr_index(packed.index), packed.values.numel()
    x, bias, residual = (data.integers(s, gen) for s in ((3, 200), (40,), (3, 40)))
    tail = Tail(bias, residual, "relu")
    y = triton_bsr.product(x, packed.values, strips, (16, 16), 40, tail, count=count)
    judge.exact_truth(y, truth.linear(x, weight, mask, bias, residual, "relu"))
    x, grad = data.integers((150, 200), gen), data.integers((150, 40), gen)
    dw = triton_bsr.gradient(grad, x, strips, (16, 16), length, count)
    judge.exact(dw, ops.bsr_linear.dw(grad, x, packed.index, length))


@pytest.mark.parametrize(
    ("act", "dtype"),
    [(act, torch.float32) for act in judge.ACTIVATIONS]
    + [("gelu", torch.float16), ("silu", torch.bfloat16)],
    ids=str,
)
def test_reals_stay_within_the_error_bound(act: str, dtype: torch.dtype) -> None:
    gen = data.generator(4)
    mask = data.block_mask(40, 72, 16, 16, gen)
    weight, x, bias = (data.reals(s, gen, dtype) for s in ((40, 72), (5, 72), (40,)))
    packed = Bsr(16, 16).pack(weight, mask)
    y = run(packed, x, bias=bias, act=act)
    judge.within_bound(y, truth.linear(x, weight, mask, bias, act=act))


def test_all_kept_none_kept_and_no_rows() -> None:
    gen = data.generator(5)
    x, bias = data.integers((4, 48), gen), data.integers((32,), gen)
    for mask in (torch.ones(32, 48, dtype=torch.bool), torch.zeros(32, 48, dtype=torch.bool)):
        weight = data.integers((32, 48), gen)
        packed = Bsr(16, 16).pack(weight, mask)
        y = run(packed, x, bias=bias, residual=2 * bias.expand(4, -1), act="relu")
        judge.exact_truth(y, truth.linear(x, weight, mask, bias, 2 * bias.expand(4, -1), "relu"))
        assert run(packed, x[:0]).shape == (0, 32)
        values, index = packed.values, packed.index
        dx = triton_bsr.bsr_linear_dx(y, values, index, in_features=48)
        judge.exact_truth(dx, truth.grad_x(y, weight, mask))
        for rows in (0, 4):
            dw = triton_bsr.bsr_linear_dw(y[:rows], x[:rows], index, values.numel())
            judge.exact(dw, ops.bsr_linear.dw(y[:rows], x[:rows], index, values.numel()))


def test_x_that_is_not_contiguous() -> None:
    gen = data.generator(6)
    weight, mask, packed = made((16, 16), (40, 50))
    wide = data.integers((6, 2, 100), gen)
    for x in (wide[:, 0, :50], wide[:, 1, ::2], wide[..., :50], wide[0, 0, 50:].flip(0)):
        judge.exact_truth(run(packed, x), truth.linear(x, weight, mask))


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_what_is_not_finite_is_seen_where_a_block_is_kept_and_nowhere_else(bad: float) -> None:
    gen = data.generator(7)
    _, _, packed = made((16, 16), (40, 50))
    x, grad = data.integers((3, 50), gen), data.integers((3, 40), gen)
    x[0, 5], x[1, 49], grad[0, 2], grad[2, 39] = bad, bad, bad, bad
    values, index = packed.values, packed.index
    expected = ops.bsr_linear.reference(x, values, index, out_features=40)
    torch.testing.assert_close(run(packed, x), expected, rtol=0, atol=0, equal_nan=True)
    assert expected.isfinite().any() and not expected.isfinite().all()
    dx = triton_bsr.bsr_linear_dx(grad, values, index, in_features=50)
    wanted = ops.bsr_linear.dx(grad, values, index, in_features=50)
    torch.testing.assert_close(dx, wanted, rtol=0, atol=0, equal_nan=True)


def test_an_index_is_read_once_until_it_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, mask, packed = made((16, 16), (40, 50))
    x = data.integers((2, 50), data.generator(8))
    other = Bsr(16, 16).pack(weight, mask.roll(16, 1))
    run(packed, x)
    reads = []
    read = FORMATS.get("bsr").positions
    monkeypatch.setattr("secateur.formats.bsr_index.read_grid", lambda *a: reads.append(a) or read)
    run(packed, x)
    assert not reads
    monkeypatch.undo()
    packed.index.copy_(other.index)
    judge.exact(
        run(packed, x),
        ops.bsr_linear.reference(x, packed.values, packed.index, out_features=40),
    )
