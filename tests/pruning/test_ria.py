"""RIA against loops over the weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from secateur.pruning import prune
from secateur.pruning.criteria import CRITERIA, Evidence, Ria


@pytest.mark.parametrize(("groups", "a"), [(1, 0.5), (1, 0.0), (1, 1.0), (2, 0.5), (3, 2.0)])
def test_it_is_the_papers_formula(groups: int, a: float) -> None:
    rows, columns = 6, 4
    weight = torch.randint(-4, 5, (rows, columns)).double()
    norms = torch.randint(1, 6, (groups, columns)).double()
    found = Ria(a).score(weight, Evidence(input_norms=norms))
    size = rows // groups
    for i in range(rows):
        for j in range(columns):
            first = i // size * size
            column = sum(abs(float(weight[k, j])) for k in range(first, first + size))
            row = sum(abs(float(weight[i, k])) for k in range(columns))
            w = abs(float(weight[i, j]))
            share = (w / column if w else 0.0) + (w / row if w else 0.0)
            wanted = share * float(norms[i // size, j]) ** a
            # Two quotients, a sum, a power and a product of exact sums.
            assert abs(float(found[i, j]) - wanted) <= 8 * torch.finfo(torch.float64).eps * wanted


def test_empty_rows_and_columns_score_nothing() -> None:
    weight = torch.tensor([[0.0, 0, 0], [0, 2, 0]])
    norms = torch.ones(1, 3, dtype=torch.float64)
    found = CRITERIA.get("ria")().score(weight, Evidence(input_norms=norms))
    assert torch.equal(found, torch.tensor([[0.0, 0, 0], [0, 2, 0]]))


def test_a_channel_that_magnitude_would_empty_lives() -> None:
    """The point of the paper: the only weight of a column is all that reads an input."""
    weight = torch.tensor([[9.0, 8, 0], [9, 8, 0], [9, 8, 0], [9, 8, 0.3]])
    layer = nn.Linear(3, 4)
    layer.weight.data = weight.clone()
    assert not bool(prune(layer, 1 / 3)["weight"][:, 2].any())
    layer.weight.data = weight.clone()
    masks = prune(layer, 1 / 3, criterion="ria", calibration=[torch.ones(2, 3)])
    assert bool(masks["weight"][3, 2])
    assert masks.origin is not None
    assert masks.origin.scope == "layer"


@pytest.mark.parametrize("a", [-1, math.inf, math.nan])
def test_an_exponent_out_of_range_is_refused(a: float) -> None:
    with pytest.raises(ValueError, match="Ria: a, the exponent of the input norm, must be 0"):
        Ria(a)
