"""The same share of what is left at every update."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.pruning.schedules._base import SCHEDULES, Schedule, check_level, eased


@SCHEDULES.register("exponential")
def exponential(initial: float, final: float, steps: Sequence[int]) -> Schedule:
    """Return the schedule whose density falls geometrically, (1 - s_i) ((1 - s_f) / (1 - s_i))^p.

    p is the progress from steps[0] to steps[-1]; with evenly spaced steps every update removes
    the same share of the weights that are left, as in the search for lottery tickets (Frankle and
    Carbin 2019, arXiv:1803.03635, section 1).

    Args:
        initial: sparsity at steps[0], in [0, final].
        final: sparsity at steps[-1], in [0, 1).
        steps: training steps at which to prune, for example range(0, 2000, 100).

    Raises:
        ValueError: if a sparsity is out of range or falls, or the steps do not increase.
    """
    check_level(initial)
    check_level(final)
    left = (1 - final) / (1 - initial)
    gone = 1 - left

    def ease(progress: float) -> float:
        return (1 - left**progress) / gone if gone else progress

    return eased(initial, final, steps, ease)
