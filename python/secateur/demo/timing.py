"""Milliseconds of several ways to do the same work, taken turn by turn in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from secateur.demo.progress import stage

# Worker threads of one runtime spin for a while after a call, and would rob the next one.
PAUSE = 0.01


@dataclass(frozen=True)
class Times:
    """Milliseconds of one contender.

    Attributes:
        values: one per round, in round order.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The values a quarter from either end."""
        if len(self.values) < 2:
            return self.values[0], self.values[0]
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high


def take_turns(
    contenders: Mapping[str, Callable[[], object]], rounds: int, title: str
) -> dict[str, Times]:
    """Time each contender once a round, after one untimed call that refills the caches.

    Who starts changes from round to round, so that a slow second of the machine meets all.
    """
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with stage(title, rounds) as advance:
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                time.sleep(PAUSE)
                contenders[name]()
                started = time.perf_counter()
                contenders[name]()
                seconds[name].append(time.perf_counter() - started)
            advance("")
    return {name: Times(tuple(1e3 * s for s in taken)) for name, taken in seconds.items()}
