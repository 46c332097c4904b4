"""What the command line asks for."""

from pathlib import Path

import pytest

from secateur.demo.__main__ import parse
from secateur.demo.train import Course


def test_defaults() -> None:
    settings = parse([])
    assert (settings.pattern, settings.sparsity, settings.seed) == ("unstructured", 0.85, 0)
    assert settings.out == Path("out/demo")


@pytest.mark.parametrize(("pattern", "sparsity"), [("2:4", 0.5), ("1:4", 0.75), ("4:16", 0.75)])
def test_a_pattern_brings_its_sparsity(pattern: str, sparsity: float) -> None:
    assert parse(["--pattern", pattern]).sparsity == sparsity


def test_given_values_are_taken() -> None:
    settings = parse(["--sparsity", "0.9", "--steps", "5", "--threads", "1", "--out", "x"])
    assert (settings.sparsity, settings.heal_steps, settings.threads) == (0.9, 5, 1)
    assert settings.out == Path("x")


def test_the_rate_rises_and_dies_away() -> None:
    course = Course("", steps=100, rate=1.0, decay=0.5)
    rates = [course.rate_at(step) for step in range(100)]
    assert rates[:3] == [0.1, 0.2, 0.3]
    assert set(rates[9:51]) == {1.0}
    assert rates[75] == 0.5
    assert 0.0 < rates[99] < 0.03
