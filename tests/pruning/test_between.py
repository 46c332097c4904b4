"""Scores against a bracket: the compiled walk is the two comparisons, at every length."""

from __future__ import annotations

import math

import pytest
import torch

from secateur.pruning._between import between


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 31, 33, 1000])
@pytest.mark.parametrize(
    "bracket", [(-1.0, 1.0), (0.0, 0.0), (2.0, -2.0), (-math.inf, 0.0), (0.0, math.inf)]
)
def test_it_is_two_comparisons(length: int, bracket: tuple[float, float]) -> None:
    gen = torch.Generator().manual_seed(length)
    scores = torch.randint(-3, 4, (length,), generator=gen).float()
    scores[::7] = -math.inf
    low, high = bracket
    # Bytes around it, which stay as they are.
    marks = torch.full((length + 2,), 77, dtype=torch.uint8)
    places = between(scores, low, high, marks[1:-1].view(torch.bool))
    if places is None:
        pytest.skip("there is no compiled kernel here")
    assert torch.equal(marks[1:-1].bool(), scores > high)
    assert marks[0] == marks[-1] == 77
    assert not bool((marks[1:-1] > 1).any())
    assert torch.equal(places, ((scores >= low) & ~(scores > high)).nonzero().flatten())


def test_other_types_are_left_to_torch() -> None:
    marks = torch.zeros(4, dtype=torch.bool)
    assert between(torch.ones(4, dtype=torch.float64), 0.0, 1.0, marks) is None
