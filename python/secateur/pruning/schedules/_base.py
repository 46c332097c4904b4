"""What a schedule is: the sparsity wanted at each training step, as plain data."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from secateur._registry import Registry


@dataclass(frozen=True, repr=False)
class Schedule:
    """A function of the step and of nothing else: levels[i] from steps[i] on, 0.0 before steps[0].

    Attributes:
        steps: the training steps at which the sparsity rises, increasing, >= 0.
        levels: the sparsity from each of those steps on, in [0, 1), never falling.
    """

    steps: Sequence[int]
    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that it is a schedule.

        Raises:
            ValueError: if steps or levels are empty, of different length, out of range or order.
        """
        steps, levels = self.steps, self.levels
        if not len(steps):
            raise ValueError("steps must name at least one step, for example range(0, 2000, 100)")
        if len(steps) != len(levels):
            raise ValueError(f"a schedule needs one level per step: {len(levels)} for {len(steps)}")
        if steps[0] < 0 or any(b <= a for a, b in pairwise(steps)):
            raise ValueError(f"steps must be >= 0 and increase, not {steps!r}")
        for level in (levels[0], levels[-1]):
            check_level(level)
        if any(b < a for a, b in pairwise(levels)):
            raise ValueError(
                f"the sparsity must not fall, but goes from {levels[0]} to {levels[-1]}"
            )

    def __call__(self, step: int) -> float:
        """Return the sparsity wanted once training step `step`, counted from 0, is done."""
        done = bisect_right(self.steps, step)
        return self.levels[done - 1] if done else 0.0

    @property
    def final(self) -> float:
        """The sparsity from the last of the steps on."""
        return self.levels[-1]

    def __repr__(self) -> str:
        first, last, n = self.steps[0], self.steps[-1], len(self.steps)
        return (
            f"Schedule({self.levels[0]:g} at step {first} to {self.final:g} at step {last}, "
            f"{n} update{'s' * (n > 1)})"
        )


def check_level(level: float) -> None:
    """Raise ValueError if `level` is no sparsity."""
    if not 0.0 <= level < 1.0:
        hint = f"; did you mean {level / 100:g}?" if 1 < level < 100 else ""
        raise ValueError(f"a sparsity must be in [0, 1), not {level:g}{hint}")


def eased(
    initial: float, final: float, steps: Sequence[int], ease: Callable[[float], float]
) -> Schedule:
    """Return the schedule initial + (final - initial) * ease(p), p = progress through the steps.

    Args:
        initial: sparsity at steps[0].
        final: sparsity at steps[-1], met exactly.
        steps: training steps at which to prune.
        ease: maps 0 to 0 and 1 to 1.

    Raises:
        ValueError: if that is no schedule; see `Schedule`.
    """
    span = max(steps[-1] - steps[0], 1) if len(steps) else 1
    levels = [initial + (final - initial) * ease((step - steps[0]) / span) for step in steps]
    return Schedule(steps, (*levels[:-1], final) if levels else ())


SCHEDULES: Registry[Callable[..., Schedule]] = Registry("schedule", "secateur.pruning.schedules")
