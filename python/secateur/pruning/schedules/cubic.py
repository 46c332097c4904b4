"""Fast first, slow last: the schedule of gradual magnitude pruning."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.pruning.schedules._base import SCHEDULES, Schedule, eased


@SCHEDULES.register("cubic")
def cubic(initial: float, final: float, steps: Sequence[int]) -> Schedule:
    """Return s_t = s_f + (s_i - s_f) (1 - p)^3, p = progress from steps[0] to steps[-1].

    Zhu and Gupta 2017, arXiv:1710.01878, equation 1.

    Args:
        initial: sparsity at steps[0], in [0, final].
        final: sparsity at steps[-1], in [0, 1).
        steps: training steps at which to prune, for example range(0, 2000, 100).

    Raises:
        ValueError: if a sparsity is out of range or falls, or the steps do not increase.
    """
    return eased(initial, final, steps, lambda progress: 1 - (1 - progress) ** 3)
