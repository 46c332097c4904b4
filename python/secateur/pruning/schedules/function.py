"""The user's own function of the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from secateur.pruning.schedules._base import SCHEDULES, Schedule


@SCHEDULES.register("function")
def function(wanted: Callable[[int], float], steps: Sequence[int]) -> Schedule:
    """Return the schedule that asks `wanted` at each of the steps, once, here.

    >>> function(lambda step: min(0.5, step / 1000), steps=range(100, 1000, 100))(450)
    0.4

    What it returned is then plain data: it is checked before training begins, and can be saved.
    `GradualPruner` also takes a bare function, which it asks at every step of the training.

    Args:
        wanted: sparsity by training step, in [0, 1), never falling.
        steps: training steps at which to prune, for example range(0, 2000, 100).

    Raises:
        TypeError: if `wanted` is no function.
        ValueError: if a sparsity is out of range or falls, or the steps do not increase.
    """
    if not callable(wanted):
        raise TypeError(f"wanted must be a function of the step, not {wanted!r}")
    return Schedule(steps, tuple(float(wanted(step)) for step in steps))
