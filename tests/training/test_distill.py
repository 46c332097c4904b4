"""Distillation losses against their closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from secateur.training import soft_targets, square_head

EPS = torch.finfo(torch.float64).eps


def assert_rounded(came: Tensor, wanted: Tensor | float, size: float, steps: int) -> None:
    """Raise unless `came` is `wanted` after `steps` roundings of numbers no larger than `size`."""
    error = (came - torch.as_tensor(wanted, dtype=torch.float64)).abs().max()
    assert error <= steps * EPS * size


def integers(*shape: int) -> Tensor:
    return torch.randint(-4, 5, shape).double()


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_soft_targets_of_known_chances(temperature: float) -> None:
    """T^2 sum p ln(p / q), averaged, where p = (3/4, 1/4) and (1/2, 1/2), q = (1/2, 1/2)."""
    chances = torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64)
    teacher = temperature * chances.log()
    student = torch.zeros(2, 2, dtype=torch.float64)
    wanted = temperature**2 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 2
    # log, product, quotient, max, exp, sum, log, difference: for each side; then p (ln p - ln q).
    assert_rounded(soft_targets(student, teacher, temperature=temperature), wanted, 50.0, 20)


def test_soft_targets_pull_by_the_difference_of_chances() -> None:
    """The gradient is T (softmax(s / T) - softmax(t / T)) / positions."""
    student, teacher = integers(3, 5, 7).requires_grad_(), integers(3, 5, 7).requires_grad_()
    soft_targets(student, teacher, temperature=2.0).backward()
    wanted = 2.0 * ((student / 2).softmax(-1) - (teacher / 2).softmax(-1)) / 15
    assert_rounded(student.grad, wanted.detach(), 4.0, 20)
    assert teacher.grad is None


def test_square_head_is_each_error_over_its_layers_size() -> None:
    """MSEs of 8 numbers: (1 * 8) / (4 * 8) and (16 + 4) / (64 + 16), all powers of two."""
    teacher = [torch.full((2, 2, 2), 2.0), torch.tensor([[8.0, 0, 0, 0], [0, 4.0, 0, 0]])]
    student = [torch.ones(2, 2, 2), torch.tensor([[4.0, 0, 0, 0], [0, 2.0, 0, 0]])]
    assert square_head(student, teacher).item() == 8 / 32 + 20 / 80
    assert square_head(teacher, teacher).item() == 0
    assert square_head([torch.zeros(2, 2, 2)], teacher[:1]).item() == 1.0


def test_square_head_does_not_mind_the_size_of_a_layer() -> None:
    student, teacher = integers(2, 3, 4), integers(2, 3, 4)
    alone = square_head([student], [teacher])
    assert torch.equal(square_head([1024 * student], [1024 * teacher]), alone)


def test_square_head_pulls_towards_the_teacher() -> None:
    student, teacher = integers(2, 3, 4).requires_grad_(), integers(2, 3, 4).requires_grad_()
    square_head([student], [teacher]).backward()
    wanted = 2 * (student - teacher) / teacher.square().sum()
    assert_rounded(student.grad, wanted.detach(), 8.0, 8)
    assert teacher.grad is None


def test_padding_counts_nowhere() -> None:
    """Not even if there is a NaN in it; with a mask it is as if the padding were cut off."""
    mask = torch.tensor([[True, True, False], [True, False, False]])
    student, teacher = integers(2, 3, 4), integers(2, 3, 4)
    cut = student[mask].clone(), teacher[mask].clone()
    student[~mask], teacher[~mask] = math.nan, math.nan
    student.requires_grad_()
    ours = (soft_targets(student, teacher, mask=mask), square_head([student], [teacher], mask=mask))
    assert torch.equal(ours[0], soft_targets(*cut))
    assert torch.equal(ours[1], square_head([cut[0]], [cut[1]]))
    sum(ours).backward()
    assert bool(student.grad.isfinite().all())
    assert not bool(student.grad[~mask].any())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_full(dtype: torch.dtype) -> None:
    student, teacher = integers(4, 64, 33).to(dtype), integers(4, 64, 33).to(dtype)
    for loss, pair in ((soft_targets, (student, teacher)), (square_head, ([student], [teacher]))):
        assert loss(*pair).dtype == torch.float32
    assert torch.equal(
        square_head([student], [teacher]), square_head([student.float()], [teacher.float()])
    )


@pytest.mark.parametrize(
    ("student", "teacher", "words", "says"),
    [
        ([4, 3], [4, 2], {}, r"student is \[4, 3\], the teacher's is \[4, 2\]"),
        ([4, 3], [4, 3], {"temperature": 0.0}, "temperature must be above 0, not 0"),
        ([4, 3], [4, 3], {"mask": torch.ones(4)}, r"mask must be bool \[4\].*float32 \[4\]"),
        ([4, 3], [4, 3], {"mask": torch.zeros(4) > 0}, "mask counts no position"),
    ],
)
def test_soft_targets_refuse(
    student: list[int], teacher: list[int], words: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        soft_targets(torch.ones(student), torch.ones(teacher), **words)


@pytest.mark.parametrize(
    ("student", "teacher", "says"),
    [
        ([], [], "at least one, not 0 and 0"),
        ([torch.ones(2, 3)], [torch.ones(2, 3)] * 2, "same number of layers.* not 1 and 2"),
        ([torch.ones(2, 3)], [torch.ones(2, 4)], r"student\[0\] is \[2, 3\]"),
        ([torch.ones(2, 3)], [torch.zeros(2, 3)], r"teacher\[0\] is zero throughout"),
    ],
)
def test_square_head_refuses(student: list[Tensor], teacher: list[Tensor], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        square_head(student, teacher)
