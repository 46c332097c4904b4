"""The bytes of rows, and what its op makes of rows and columns that are gone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from secateur import ops
from secateur.formats import FORMATS, Header, Packed
from secateur.formats.rows import ROWS
from tests.support import data, judge, truth


def case(out: int = 12, in_: int = 20) -> tuple[Tensor, Tensor]:
    """Integer weight, and a mask without rows 0 and 5 and columns 1 and in_ - 1."""
    mask = torch.ones(out, in_, dtype=torch.bool)
    mask[[0, 5]] = False
    mask[:, [1, in_ - 1]] = False
    return data.integers((out, in_), data.generator()), mask


def run(packed: Packed, x: Tensor, *operands: Tensor, act: str = "none") -> Tensor:
    return ops.rows_linear(
        x, packed.values, packed.index, *operands, out_features=packed.out_features, act=act
    )


def test_the_values_are_the_smaller_matrix_and_the_index_lists_what_is_left() -> None:
    weight, mask = case()
    packed = ROWS.pack(weight, mask)
    header = Header.read(packed.index)
    rows, columns = ROWS.kept(header, packed.index)
    assert rows.tolist() == [1, 2, 3, 4, *range(6, 12)]
    assert columns.tolist() == [0, *range(2, 19)]
    small = weight[rows.long()][:, columns.long()]
    judge.exact(packed.values[: header.nnz].view(10, 18), small)
    judge.exact(packed.values[header.nnz :], torch.zeros(16))


@pytest.mark.parametrize("act", judge.ACTIVATIONS)
def test_a_removed_row_gives_bias_activation_and_residual(act: str) -> None:
    weight, mask = case()
    gen = data.generator(1)
    bias, residual = data.reals((12,), gen), data.reals((3, 12), gen)
    packed = ROWS.pack(weight, mask)
    y = run(packed, data.reals((3, 20), gen), bias, residual, act=act)
    alone = truth.activation(act, bias) + residual
    judge.exact(y[:, [0, 5]], alone[:, [0, 5]])
    assert not torch.equal(y[:, 1:5], alone[:, 1:5])


def test_infinity_in_a_removed_column_is_not_seen_by_y_nor_by_a_gradient() -> None:
    weight, mask = case()
    packed = ROWS.pack(weight, mask)
    x = data.integers((3, 20), data.generator(1))
    clean = run(packed, x)
    x[0, 1], x[1, 19], x[2, 1] = float("inf"), float("-inf"), float("nan")
    judge.exact(run(packed, x), clean)
    values = packed.values.clone().requires_grad_()
    y = ops.rows_linear(x, values, packed.index, out_features=12)
    y.sum().backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("kept", ["rows", "columns", "nothing", "everything"])
def test_only_rows_only_columns_nothing_and_everything(kept: str) -> None:
    weight, mask = case()
    if kept == "rows":
        mask = mask.any(1, keepdim=True).expand_as(mask).clone()
    elif kept == "columns":
        mask = mask.any(0, keepdim=True).expand_as(mask).clone()
    else:
        mask = torch.full_like(mask, kept == "everything")
    x, bias = data.integers((4, 20), data.generator(1)), torch.arange(12.0)
    y = run(ROWS.pack(weight, mask), x, bias)
    judge.exact_truth(y, truth.linear(x, weight, mask, bias))


def test_autocast_does_not_round_the_operands() -> None:
    _, mask = case()
    gen = data.generator(2)
    weight, x = data.reals((12, 20), gen), data.reals((5, 20), gen)
    packed = ROWS.pack(weight, mask)
    with torch.autocast("cpu", torch.bfloat16):
        y = run(packed, x)
    judge.within_bound(y, truth.linear(x, weight, mask))
    rounded = F.linear(x.bfloat16(), weight.masked_fill(~mask, 0).bfloat16()).float()
    with pytest.raises(AssertionError, match="leave the bound"):
        judge.within_bound(rounded, truth.linear(x, weight, mask))


def test_a_few_zeros_inside_are_filled_and_more_are_refused() -> None:
    weight, mask = case()
    mask[1, 0] = False
    packed = ROWS.pack(weight, mask)
    assert Header.read(packed.index).nnz == int(mask.sum()) + 1
    judge.exact(ROWS.unpack(packed.values, packed.index), weight.masked_fill(~mask, 0))
    loose = data.random_mask(12, 20, 0.5, data.generator(3))
    assert "cross in 240 places, but it keeps" in str(FORMATS.get("rows").fits(loose))


def test_each_row_left_keeps_its_own_int8_scale() -> None:
    weight, mask = case()
    scale = 2.0 ** torch.arange(12).remainder(5).float()
    packed = ROWS.pack(weight, mask)
    x, values = data.integers((4, 20), data.generator(1)), packed.values.to(torch.int8)
    y = ops.rows_linear(x, values, packed.index, scale=scale, out_features=12)
    judge.exact_truth(y, truth.linear(x, weight * scale[:, None], mask))
