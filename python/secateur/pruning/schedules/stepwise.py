"""A fixed increment at every update, until the end is reached."""

from __future__ import annotations

import math
from collections.abc import Sequence

from secateur.pruning.schedules._base import SCHEDULES, Schedule, check_level


@SCHEDULES.register("stepwise")
def stepwise(
    start: float, add: float, until: float, steps: Sequence[int] | None = None, *, every: int = 1
) -> Schedule:
    """Return the schedule start, start + add, start + 2 add, ... but at most `until`.

    >>> stepwise(start=0.10, add=0.05, until=0.50, every=1000)
    Schedule(0.1 at step 0 to 0.5 at step 8000, 9 updates)

    Args:
        start: sparsity of the first update, in [0, until].
        add: sparsity added at each later one, > 0.
        until: sparsity not to be passed, in [0, 1).
        steps: training steps at which to prune. None: 0, `every`, 2 `every`, ..., as many as it
            takes.
        every: training steps from one update to the next, where `steps` is None; 1 counts rounds.

    Raises:
        ValueError: if a sparsity is out of range, the steps do not increase, or they are too few
            to reach `until`.
    """
    check_level(start)
    check_level(until)
    if not add > 0:
        raise ValueError(f"add must be > 0, not {add}")
    if every < 1:
        raise ValueError(f"every is a number of steps, at least 1, not {every}")
    # 0.7 + 0.1 is a little less than 0.8; it is meant to be 0.8.
    end = until * (1 - 1e-9)
    if steps is None:
        steps = range(0, every * (1 + max(0, math.ceil((end - start) / add))), every)
    sums = (start + i * add for i in range(len(steps)))
    schedule = Schedule(steps, tuple(level if level < end else until for level in sums))
    if schedule.final < until:
        raise ValueError(
            f"{len(steps)} steps of {add} from {start} reach {schedule.final:g}, not {until}; give "
            "more steps or a larger increment"
        )
    return schedule
