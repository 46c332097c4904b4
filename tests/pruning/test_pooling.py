"""From the scores of weights to those of units, against loops over the units."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from secateur.pruning.patterns import find_pattern
from secateur.pruning.pooling import pooled, unit_of
from secateur.pruning.shape import Shape

PATTERNS = ("unstructured", "2:4", "2:4T", "block:2x4", "channels", "columns", "heads:2")
SHAPE = Shape(8, 12)
# Of one unit's scores, in the order of the weights.
RULES: dict[str, Callable[[Tensor], float]] = {
    "mean": lambda s: float(s.mean()),
    "sum": lambda s: float(s.sum()),
    "net": lambda s: abs(float(s.sum())),
    "max": lambda s: float(s.max()),
    "first": lambda s: float(s[0]),
}


def members(pattern: str) -> list[Tensor]:
    """Return the flat places of each unit's weights, found by marking one unit at a time."""
    ours = find_pattern(pattern)
    units = ours.to_units(torch.zeros(8, 12), SHAPE)
    numbers = torch.arange(units.numel()).reshape(units.shape)
    return [
        ours.to_mask(numbers == unit, SHAPE).flatten().nonzero().flatten()
        for unit in range(units.numel())
    ]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("how", RULES)
def test_it_is_what_a_loop_gives(pattern: str, how: str) -> None:
    """Integers, and units of 1, 4, 8, 12, 48 weights: only the mean of 12 and 48 has to round."""
    scores = torch.randint(-9, 10, (8, 12)).double()
    found = pooled(find_pattern(pattern), scores, SHAPE, how)
    wanted = torch.tensor([RULES[how](scores.flatten()[places]) for places in members(pattern)])
    assert torch.equal(found.flatten().float(), wanted.float())


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_weight_knows_its_unit(pattern: str) -> None:
    found = unit_of(find_pattern(pattern), SHAPE, torch.device("cpu")).flatten()
    for unit, places in enumerate(members(pattern)):
        assert bool((found[places] == unit).all())


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 7.0])
def test_a_power_mean_is_between_the_mean_and_the_largest(exponent: float) -> None:
    pattern = find_pattern("channels")
    scores = torch.rand(8, 12, dtype=torch.float64)
    found = pooled(pattern, scores, SHAPE, exponent).flatten()
    wanted = scores.pow(exponent).mean(1).pow(1 / exponent)
    # A dozen operations and two powers, each good to an ulp or two.
    assert bool(((found - wanted).abs() <= 40 * torch.finfo(torch.float64).eps * wanted).all())
    assert torch.equal(
        pooled(pattern, scores, SHAPE, math.inf), pooled(pattern, scores, SHAPE, "max")
    )


@pytest.mark.parametrize("how", ["median", 0, -2.0, math.nan])
def test_another_way_is_refused(how: object) -> None:
    with pytest.raises(ValueError, match=r'pooling must be "mean", "sum", .*, not'):
        pooled(find_pattern("unstructured"), torch.rand(8, 12), SHAPE, how)
