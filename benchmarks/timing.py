"""Times several candidates side by side. It knows nothing of kernels, shapes or reports.

Every round runs every candidate once, so that a slow second of the machine falls on all of
them, and a ratio is taken inside each round before its median is.
"""

from __future__ import annotations

import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

Call = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Candidate:
    """One thing to time.

    Args:
        name: how the result is found again.
        calls: the same work on one or more copies of its operands, called in rotation. Several
            copies that together exceed the caches make every call read from DRAM.
        budget: seconds this candidate may take in all; it then gets fewer rounds, at least 3.
            Baselines and the subject have none; peers do, for some are 100 times slower.
    """

    name: str
    calls: Sequence[Call]
    budget: float = math.inf


@dataclass(frozen=True)
class Plan:
    """How much to measure: rounds, and the seconds one sample should last at least."""

    rounds: int = 20
    sample: float = 5e-3
    warm_below: float = 20e-3
    max_repeats: int = 1000


@dataclass(frozen=True)
class Samples:
    """One value per round (seconds per call, or a ratio), in round order."""

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

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        low, high = self.quartiles
        return (high - low) / 2 / self.median


def repeats_for(seconds: float, plan: Plan) -> int:
    """Return how many calls one sample needs so that it lasts `plan.sample` seconds."""
    if seconds <= 0:
        return plan.max_repeats
    return max(1, min(plan.max_repeats, math.ceil(plan.sample / seconds)))


def rounds_for(seconds: float, candidate: Candidate, plan: Plan) -> int:
    """Return the rounds a candidate takes part in: all, or what its budget allows (3 or more)."""
    per_round = max(seconds * repeats_for(seconds, plan), 1e-12)
    if per_round * plan.rounds <= candidate.budget:
        return plan.rounds
    return max(min(3, plan.rounds), int(candidate.budget / per_round))


def measure(
    candidates: Sequence[Candidate], plan: Plan | None = None, clock: Clock = time.perf_counter
) -> dict[str, Samples]:
    """Time all candidates in interleaved rounds.

    The candidate that starts a round changes from round to round. Short calls get one untimed
    call first, because the candidate before has just emptied the caches.

    Returns:
        Seconds per call, by candidate name.
    """
    plan = plan or Plan()
    runners = [_Runner(candidate, plan, clock) for candidate in candidates]
    with _no_collection():
        for number in range(plan.rounds):
            first = number % len(runners) if runners else 0
            for runner in runners[first:] + runners[:first]:
                if number < runner.rounds:
                    runner.sample()
    return {runner.name: Samples(tuple(runner.seconds)) for runner in runners}


def ratio(above: Samples, below: Samples) -> Samples:
    """Return above / below, round by round; rounds that only one of them has are left out."""
    return Samples(tuple(a / b for a, b in zip(above.values, below.values, strict=False)))


def fastest(samples: Mapping[str, Samples]) -> str:
    """Return the name with the smallest median."""
    return min(samples, key=lambda name: samples[name].median)


class _Runner:
    """A candidate with its place in the rotation, its repeats and its samples so far."""

    def __init__(self, candidate: Candidate, plan: Plan, clock: Clock) -> None:
        self.name = candidate.name
        self.seconds: list[float] = []
        self._calls: Iterator[Call] = itertools.cycle(candidate.calls)
        self._clock = clock
        next(self._calls)()
        single = self._time(1)
        single = min(single, self._time(repeats_for(single, Plan(sample=plan.sample / 4))))
        self._repeats = repeats_for(single, plan)
        self._warm = single < plan.warm_below
        self.rounds = rounds_for(single, candidate, plan)

    def sample(self) -> None:
        if self._warm:
            next(self._calls)()
        self.seconds.append(self._time(self._repeats))

    def _time(self, repeats: int) -> float:
        calls = list(itertools.islice(self._calls, repeats))
        start = self._clock()
        for call in calls:
            call()
        return (self._clock() - start) / repeats


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage collector out of the samples."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
