"""Schedules are functions of the step and of nothing else."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secateur.pruning import schedules
from secateur.pruning.schedules import Schedule


def test_one_shot_waits_and_then_stays() -> None:
    schedule = schedules.one_shot(0.5, step=10)
    assert [schedule(step) for step in (0, 9, 10, 11, 10**6)] == [0.0, 0.0, 0.5, 0.5, 0.5]


def test_linear_is_a_staircase_between_its_ends() -> None:
    schedule = schedules.linear(0.25, 0.75, steps=range(10, 15, 2))
    wanted = [0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    assert [schedule(step) for step in (9, 10, 11, 12, 13, 14, 99)] == wanted


def test_cubic_is_the_formula_of_the_paper() -> None:
    """Zhu and Gupta, equation 1, in exact arithmetic; four rounding errors are allowed."""
    steps = range(100, 1100, 100)
    schedule = schedules.cubic(0.125, 0.875, steps=steps)
    for i, step in enumerate(steps):
        remaining = (1 - Fraction(i, len(steps) - 1)) ** 3
        exact = Fraction(7, 8) + (Fraction(1, 8) - Fraction(7, 8)) * remaining
        assert abs(Fraction(schedule(step)) - exact) <= 4 * torch.finfo(torch.float64).eps


def test_cubic_is_fast_first_and_slow_last() -> None:
    """A peer's "cube" is progress cubed: slow first."""
    schedule = schedules.cubic(0.0, 0.8, steps=range(0, 101))
    assert schedule(50) == pytest.approx(0.7, rel=4 * torch.finfo(torch.float64).eps)


def test_steps_may_be_any_that_increase() -> None:
    schedule = schedules.linear(0.0, 0.5, steps=[0, 1, 10])
    assert (schedule(1), schedule(9), schedule(10)) == (0.05, 0.05, 0.5)


def test_stepwise_stops_at_its_end() -> None:
    schedule = schedules.stepwise(0.25, 0.25, 0.625, steps=range(0, 40, 10))
    assert [schedule(step) for step in (0, 10, 20, 30, 40)] == [0.25, 0.5, 0.625, 0.625, 0.625]


def test_stepwise_does_not_miss_its_end_by_a_rounding_error() -> None:
    assert 0.7 + 0.1 < 0.8
    assert schedules.stepwise(0.7, 0.1, 0.8, steps=range(2)).levels == (0.7, 0.8)


def test_start_at_10_add_5_until_50() -> None:
    schedule = schedules.stepwise(start=0.10, add=0.05, until=0.50)
    wanted = [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]
    # start + i * add: two roundings, each of a number below 1.
    assert schedule.levels == pytest.approx(wanted, abs=torch.finfo(torch.float64).eps)
    assert (schedule.final, list(schedule.steps)) == (0.5, list(range(9)))
    later = schedules.stepwise(0.10, 0.05, 0.50, every=1000)
    assert (later.levels, list(later.steps)) == (schedule.levels, list(range(0, 9000, 1000)))
    assert schedules.stepwise(0.5, 0.1, 0.5).levels == (0.5,)
    assert schedules.stepwise(0.1, 0.3, 0.5).levels == (0.1, 0.4, 0.5)


def test_exponential_removes_the_same_share_of_what_is_left() -> None:
    schedule = schedules.exponential(0.0, 1 - 0.8**5, steps=range(6))
    left = [1 - level for level in schedule.levels]
    # A power, a quotient, a product and two differences, each rounded once.
    eps = torch.finfo(torch.float64).eps
    assert left == pytest.approx([0.8**i for i in range(6)], abs=8 * eps)
    assert schedules.exponential(0.5, 0.5, steps=range(3)).levels == (0.5,) * 3


def test_polynomial_is_linear_at_1_and_cubic_at_3() -> None:
    arguments = (0.125, 0.875, range(0, 64, 8))
    assert schedules.polynomial(*arguments, power=1).levels == pytest.approx(
        schedules.linear(*arguments).levels, abs=4 * torch.finfo(torch.float64).eps
    )
    assert schedules.polynomial(*arguments, power=3) == schedules.cubic(*arguments)


def test_a_function_is_asked_once_and_becomes_data() -> None:
    asked: list[int] = []

    def wanted(step: int) -> float:
        asked.append(step)
        return step / 100

    schedule = schedules.function(wanted, steps=range(10, 50, 10))
    assert [schedule(step) for step in (9, 10, 29, 30, 99)] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert asked == [10, 20, 30, 40]
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    with pytest.raises(TypeError, match=r"function of the step, not 0\.5"):
        schedules.function(0.5, steps=range(3))


@given(st.floats(0, 0.99), st.floats(0, 0.99), st.integers(0, 50), st.integers(1, 60))
def test_the_end_is_met_exactly(a: float, b: float, start: int, n: int) -> None:
    initial, final = sorted((a, b))
    steps = range(start, start + 3 * n, 3)
    for schedule in (
        schedules.linear(initial, final, steps),
        schedules.cubic(initial, final, steps),
        schedules.polynomial(initial, final, steps, power=1.5),
        schedules.exponential(initial, final, steps),
    ):
        assert schedule(steps[-1]) == schedule.final == final
        assert schedule(start - 1) == 0.0


def test_a_schedule_is_plain_data() -> None:
    schedule = schedules.cubic(0.0, 0.9, steps=range(0, 2000, 100))
    assert pickle.loads(pickle.dumps(schedule)) == schedule == copy.deepcopy(schedule)
    assert repr(schedule) == "Schedule(0 at step 0 to 0.9 at step 1900, 20 updates)"


def test_a_file_of_the_room_and_its_schedule_share_a_name() -> None:
    for name in schedules.SCHEDULES.names():
        assert getattr(schedules, name) is schedules.SCHEDULES.get(name)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: schedules.cubic(0.0, 90, steps=range(5)), r"\[0, 1\), not 90; did you mean 0.9"),
        (lambda: schedules.linear(0.9, 0.5, steps=range(5)), "must not fall"),
        (lambda: schedules.cubic(0.0, 0.5, steps=range(0)), "at least one step"),
        (lambda: schedules.cubic(0.0, 0.5, steps=[3, 3, 4]), "increase"),
        (lambda: schedules.one_shot(1.0), r"\[0, 1\), not 1"),
        (lambda: schedules.one_shot(float("nan")), r"\[0, 1\), not nan"),
        (lambda: schedules.one_shot(0.5, step=-1), ">= 0"),
        (lambda: schedules.stepwise(0.0, 0.0, 0.5, steps=range(5)), "add must be > 0"),
        (lambda: schedules.stepwise(0.0, 0.1, 0.9, steps=range(5)), "more steps or a larger"),
        (lambda: schedules.stepwise(10, 5, 50), "not 10; did you mean 0.1"),
        (lambda: schedules.stepwise(0.1, 0.05, 0.5, every=0), "every .* at least 1, not 0"),
        (lambda: schedules.polynomial(0.0, 0.5, range(5), power=0), "power must be > 0"),
        (lambda: schedules.exponential(0.6, 0.5, range(5)), "must not fall"),
        (lambda: schedules.exponential(0.0, 1.0, range(5)), r"\[0, 1\), not 1"),
        (lambda: schedules.function(lambda step: 0.5 - step / 10, range(3)), "must not fall"),
        (lambda: schedules.function(lambda step: 40 * step, range(3)), "did you mean 0.8"),
        (lambda: Schedule(range(3), (0.1, 0.2)), "one level per step: 2 for 3"),
    ],
)
def test_what_is_no_schedule_is_refused(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()
