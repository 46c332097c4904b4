"""Fast first, slow last, as much as a power says: 1 is linear, 3 is cubic."""

from __future__ import annotations

import math
from collections.abc import Sequence

from secateur.pruning.schedules._base import SCHEDULES, Schedule, eased


@SCHEDULES.register("polynomial")
def polynomial(initial: float, final: float, steps: Sequence[int], power: float = 2.0) -> Schedule:
    """Return s_t = s_f + (s_i - s_f) (1 - p)^power, p = progress from steps[0] to steps[-1].

    Args:
        initial: sparsity at steps[0], in [0, final].
        final: sparsity at steps[-1], in [0, 1).
        steps: training steps at which to prune, for example range(0, 2000, 100).
        power: > 0; above 1 fast first, below 1 slow first.

    Raises:
        ValueError: if a sparsity is out of range or falls, the steps do not increase, or `power`
            is not positive.
    """
    if not 0 < power < math.inf:
        raise ValueError(f"power must be > 0 and finite, not {power}")
    return eased(initial, final, steps, lambda progress: 1 - (1 - progress) ** power)
