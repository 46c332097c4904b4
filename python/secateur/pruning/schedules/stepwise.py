"""A fixed increment at every update, until the end is reached."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.pruning.schedules._base import SCHEDULES, Schedule, check_level


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
    check_level(final)
    if not increment > 0:
        raise ValueError(f"increment must be > 0, not {increment}")
    # 0.7 + 0.1 is a little less than 0.8; it is meant to be 0.8.
    end = final * (1 - 1e-9)
    sums = (start + i * increment for i in range(len(steps)))
    schedule = Schedule(steps, tuple(level if level < end else final for level in sums))
    if schedule.final < final:
        raise ValueError(
            f"{len(steps)} steps of {increment} from {start} reach {schedule.final:g}, not the "
            f"final sparsity {final}; give more steps or a larger increment"
        )
    return schedule
