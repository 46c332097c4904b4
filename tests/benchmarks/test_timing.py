from __future__ import annotations

import gc
import itertools
from collections.abc import Callable

import pytest

from benchmarks.timing import (
    Candidate,
    Plan,
    Samples,
    fastest,
    measure,
    ratio,
    repeats_for,
    rounds_for,
)


class FakeMachine:
    """A clock that only moves when a call runs, and a log of the calls."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def call(self, name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.log.append(name)
            self.now += seconds

        return run


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


def test_seconds_per_call_come_out_whatever_the_repeats(machine: FakeMachine) -> None:
    candidates = [
        Candidate("short", [machine.call("short", 2.0**-12)]),
        Candidate("long", [machine.call("long", 0.5)]),
    ]
    samples = measure(candidates, Plan(rounds=20, sample=2.0**-8), lambda: machine.now)
    assert samples["short"].values == (2.0**-12,) * 20
    assert samples["long"].values == (0.5,) * 20


def test_every_round_runs_every_candidate_and_the_first_place_goes_round(
    machine: FakeMachine,
) -> None:
    candidates = [Candidate(name, [machine.call(name, 1.0)]) for name in "abc"]
    measure(candidates, Plan(rounds=4, sample=0.5), lambda: machine.now)
    rounds = ["".join(machine.log[-12 + i : -12 + i + 3]) for i in range(0, 9, 3)]
    assert rounds == ["abc", "bca", "cab"]
    assert "".join(machine.log[-3:]) == "abc"


def test_copies_are_called_in_turn(machine: FakeMachine) -> None:
    copies = [machine.call(name, 1.0) for name in "xyz"]
    measure([Candidate("cold", copies)], Plan(rounds=5, sample=2.0), lambda: machine.now)
    turns = "".join(machine.log)
    assert turns == "".join(itertools.islice(itertools.cycle("xyz"), len(turns)))


def test_a_short_call_is_warmed_up_before_each_sample_and_a_long_one_is_not(
    machine: FakeMachine,
) -> None:
    plan = Plan(rounds=3, sample=0.5, warm_below=2.0)
    for name, seconds in (("warm", 1.0), ("long", 4.0)):
        measure([Candidate(name, [machine.call(name, seconds)])], plan, lambda: machine.now)
    before = 3  # the first call, and two to find out how long one takes
    assert machine.log.count("warm") == before + 2 * 3
    assert machine.log.count("long") == before + 3


@pytest.mark.parametrize(
    ("seconds", "wanted"), [(0.0, 1000), (1e-9, 1000), (1e-3, 5), (4e-3, 2), (5e-3, 1), (7.0, 1)]
)
def test_repeats_fill_the_sample(seconds: float, wanted: int) -> None:
    assert repeats_for(seconds, Plan(sample=5e-3)) == wanted


@pytest.mark.parametrize(("seconds", "wanted"), [(0.01, 20), (0.2, 10), (0.5, 4), (10.0, 3)])
def test_a_budget_costs_rounds_but_leaves_three(seconds: float, wanted: int) -> None:
    peer = Candidate("peer", [lambda: None], budget=2.0)
    assert rounds_for(seconds, peer, Plan(rounds=20, sample=0.01)) == wanted
    assert rounds_for(seconds, Candidate("subject", [lambda: None]), Plan(rounds=20)) == 20


def test_the_ratio_is_taken_inside_each_round() -> None:
    # The machine is three times slower in the second half: the ratio does not notice.
    dense = Samples((4.0, 4.0, 12.0, 12.0))
    sparse = Samples((2.0, 2.0, 6.0, 6.0))
    assert ratio(dense, sparse).values == (2.0,) * 4
    assert ratio(dense, sparse).spread == 0
    assert ratio(dense, Samples((1.0,))).values == (4.0,)


def test_median_quartiles_and_spread() -> None:
    samples = Samples((5.0, 1.0, 2.0, 4.0, 3.0))
    assert samples.median == 3
    assert samples.quartiles == (2, 4)
    assert samples.spread == 1 / 3
    assert Samples((7.0,)).quartiles == (7, 7)


def test_fastest_goes_by_the_median() -> None:
    assert fastest({"lucky": Samples((1.0, 9.0, 9.0)), "steady": Samples((5.0, 5.0, 5.0))}) == (
        "steady"
    )


def test_the_garbage_collector_is_off_during_samples_and_back_after() -> None:
    seen: list[bool] = []
    measure([Candidate("a", [lambda: seen.append(gc.isenabled())])], Plan(rounds=2, sample=0))
    assert seen[-1] is False
    assert gc.isenabled()
