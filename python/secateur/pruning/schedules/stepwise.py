"""A fixed increment at every update, until the end is reached."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.pruning.schedules._base import SCHEDULES, Schedule


@SCHEDULES.register("stepwise")
def stepwise(start: float, increment: float, final: float, steps: Sequence[int]) -> Schedule:
    """Return the schedule start, start + increment, start + 2 increment, ... but at most `final`.

    Args:
        start: sparsity at steps[0], in [0, final].
        increment: sparsity added at each later step, > 0.
        final: sparsity not to be passed, in [0, 1).
        steps: training steps at which to prune, for example range(0, 2000, 500).

    Raises:
        ValueError: if a sparsity is out of range, the steps do not increase, or they are too few
            to reach `final`.
    """
    if not increment > 0:
        raise ValueError(f"increment must be > 0, not {increment}")
    levels = tuple(min(start + i * increment, final) for i in range(len(steps)))
    schedule = Schedule(steps, levels)
    if levels[-1] < final:
        raise ValueError(
            f"{len(steps)} steps of {increment} from {start} reach {levels[-1]:g}, not the final "
            f"sparsity {final}; give more steps or a larger increment"
        )
    return schedule
