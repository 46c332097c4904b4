"""nm_linear in Triton's interpreter: equal to the truth on integers, within the bound on reals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from secateur import ops
from secateur.backends.triton import _nm_linear as triton_nm
from secateur.backends.triton._launch import Tail
from secateur.formats import Header, Layout, Packed
from secateur.formats.nm import Nm
from tests.support import data, judge, truth

PATTERNS = [(2, 4), (1, 2), (1, 4), (3, 4), (2, 8), (4, 8), (5, 8), (1, 16), (8, 16), (4, 16)]
verify = pytest.mark.verify
TYPES = [torch.float32, torch.float16, torch.bfloat16]


def made(
    pattern: tuple[int, int],
    size: tuple[int, int],
    dtype: torch.dtype = torch.float32,
    layout: Layout | None = None,
) -> tuple[Tensor, Tensor, Packed]:
    gen = data.generator()
    mask = data.nm_mask(*size, *pattern, gen)
    weight = data.integers(size, gen, dtype)
    return weight, mask, Nm(*pattern).pack(weight, mask, layout)


def run(packed: Packed, x: Tensor, **extra: object) -> Tensor:
    return triton_nm.nm_linear(
        x, packed.values, packed.index, out_features=packed.out_features, **extra
    )


def all_three(weight: Tensor, mask: Tensor, packed: Packed, rows: int) -> None:
    """Raise unless forward and both gradients are right for `rows` tokens."""
    gen = data.generator(1)
    (out, in_), dtype = weight.shape, weight.dtype
    x, bias, residual = (data.integers(s, gen, dtype) for s in ((rows, in_), (out,), (rows, out)))
    y = run(packed, data.nan_margins(x), bias=bias, residual=residual, act="relu")
    judge.exact_truth(y, truth.linear(x, weight, mask, bias, residual, "relu"))
    grad = data.nan_margins(data.integers((rows, out), gen, dtype))
    dx = triton_nm.nm_linear_dx(grad, packed.values, packed.index, in_features=in_)
    judge.exact_truth(dx, truth.grad_x(grad, weight, mask))
    length = packed.values.numel()
    dw = triton_nm.nm_linear_dw(grad, data.nan_margins(x), packed.index, length)
    judge.exact(dw, ops.nm_linear.dw(grad, x, packed.index, length))


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_every_pattern(pattern: tuple[int, int]) -> None:
    all_three(*made(pattern, (20, 208)), rows=5)  # a K block and 80 columns


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_type(dtype: torch.dtype) -> None:
    all_three(*made((2, 4), (20, 64), dtype), rows=17)


@pytest.mark.parametrize("rows", [1, 17, *(pytest.param(n, marks=verify) for n in (15, 33, 65))])
def test_rows_and_edges_off_the_tile(rows: int) -> None:
    all_three(*made((2, 4), (70, 36)), rows=rows)


@pytest.mark.parametrize("layout", [Layout(64, 16), Layout(192, 7)], ids=str)
def test_every_layout(layout: Layout) -> None:
    all_three(*made((2, 4), (40, 280), layout=layout), rows=3)


def test_a_sum_in_two_parts() -> None:
    gen = data.generator(7)
    weight, mask, packed = made((2, 4), (20, 136))
    x, bias = data.integers((2, 136), gen), data.integers((20,), gen)
    head = Header.read(packed.index)
    y = triton_nm.forward(x, packed.values, packed.index, head, Tail(bias, None, "relu"), 2)
    judge.exact_truth(y, truth.linear(x, weight, mask, bias, act="relu"))


def test_groups_that_keep_fewer() -> None:
    gen = data.generator(2)
    mask = data.nm_mask(20, 64, 2, 4, gen) & data.random_mask(20, 64, 0.8, gen)
    mask[3] = False
    weight = data.integers((20, 64), gen)
    all_three(weight, mask, Nm(2, 4).pack(weight, mask), rows=3)


@pytest.mark.verify
@pytest.mark.parametrize("count", [2, 4])
def test_sums_in_parts_are_the_same(count: int) -> None:
    gen = data.generator(3)
    weight, mask, packed = made((2, 4), (200, 264))
    head, length = Header.read(packed.index), packed.values.numel()
    x, bias, residual = (data.integers(s, gen) for s in ((3, 264), (200,), (3, 200)))
    y = triton_nm.forward(x, packed.values, packed.index, head, Tail(bias, residual, "relu"), count)
    judge.exact_truth(y, truth.linear(x, weight, mask, bias, residual, "relu"))
    dx = triton_nm.backward(residual, packed.values, packed.index, head, count)
    judge.exact_truth(dx, truth.grad_x(residual, weight, mask))
    x, grad = data.integers((150, 264), gen), data.integers((150, 200), gen)
    dw = triton_nm.gradient(grad, x, packed.index, length, head, count)
    judge.exact(dw, ops.nm_linear.dw(grad, x, packed.index, length))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_reals_stay_within_the_error_bound(dtype: torch.dtype) -> None:
    gen = data.generator(4)
    mask = data.nm_mask(40, 72, 2, 4, gen)
    weight, x, bias = (data.reals(s, gen, dtype) for s in ((40, 72), (5, 72), (40,)))
    y = run(Nm(2, 4).pack(weight, mask), x, bias=bias, act="gelu")
    judge.within_bound(y, truth.linear(x, weight, mask, bias, act="gelu"))


@pytest.mark.parametrize("pattern", [(2, 4), (3, 8)], ids=str)
@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_what_is_not_finite_is_seen_where_it_is_kept(pattern: tuple[int, int], bad: float) -> None:
    gen = data.generator(5)
    _, _, packed = made(pattern, (12, 40))
    x, grad = data.integers((2, 40), gen), data.integers((2, 12), gen)
    x[0, 5], x[1, 39], grad[0, 2], grad[1, 11] = bad, -bad, bad, -bad
    values, index = packed.values, packed.index
    expected = ops.nm_linear.reference(x, values, index, out_features=12)
    assert expected[0].isfinite().any(), "a pruned position made NaN of infinity"
    assert not expected[0].isfinite().all()
    torch.testing.assert_close(run(packed, x), expected, rtol=0, atol=0, equal_nan=True)
    dx = triton_nm.nm_linear_dx(grad, values, index, in_features=40)
    wanted = ops.nm_linear.dx(grad, values, index, in_features=40)
    torch.testing.assert_close(dx, wanted, rtol=0, atol=0, equal_nan=True)


def test_no_rows_and_x_that_is_not_contiguous() -> None:
    gen = data.generator(6)
    weight, mask, packed = made((2, 4), (24, 48))
    wide = data.integers((6, 2, 96), gen)
    for x in (wide[:, 0, :48], wide[:, 1, ::2], wide[..., :48], wide[0, 0, 48:].flip(0)):
        judge.exact_truth(run(packed, x), truth.linear(x, weight, mask))
    assert run(packed, wide[:0, 0, :48]).shape == (0, 24)
    grad, length = data.integers((0, 24), gen), packed.values.numel()
    dx = triton_nm.nm_linear_dx(grad, packed.values, packed.index, in_features=48)
    assert dx.shape == (0, 48)
    dw = triton_nm.nm_linear_dw(grad, wide[:0, 0, :48], packed.index, length)
    judge.exact(dw, torch.zeros(length))
