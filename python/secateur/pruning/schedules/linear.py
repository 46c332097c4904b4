"""The same amount at every update."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.pruning.schedules._base import SCHEDULES, Schedule, eased


@SCHEDULES.register("linear")
def linear(initial: float, final: float, steps: Sequence[int]) -> Schedule:
    """Return the schedule that goes from `initial` to `final` in a straight line.

    Args:
        initial: sparsity at steps[0], in [0, final].
        final: sparsity at steps[-1], in [0, 1).
        steps: training steps at which to prune, for example range(0, 2000, 100).

    Raises:
        ValueError: if a sparsity is out of range or falls, or the steps do not increase.
    """
    return eased(initial, final, steps, lambda progress: progress)
