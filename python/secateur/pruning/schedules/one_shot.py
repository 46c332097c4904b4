"""Everything at once."""

from __future__ import annotations

from secateur.pruning.schedules._base import SCHEDULES, Schedule


@SCHEDULES.register("one_shot")
def one_shot(final: float, step: int = 0) -> Schedule:
    """Return the schedule that prunes to `final` at `step` and never again.

    Args:
        final: sparsity, in [0, 1).
        step: the training step, >= 0.

    Raises:
        ValueError: if either is out of range.
    """
    return Schedule(range(step, step + 1), (final,))
