"""Ln norms of units, against torch.linalg, torch.nn.utils.prune and plain magnitude."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from secateur.pruning import prune
from secateur.pruning.criteria import Ln
from tests.pruning.models import mlp

EXPONENTS = (0.5, 1, 2, 3, 100, math.inf)


@pytest.mark.parametrize("n", EXPONENTS)
@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_of_single_weights_every_norm_is_the_magnitude(n: float, pattern: str) -> None:
    """To the bit: weights one unit in the last place apart keep their order."""
    model = mlp(64, 16)
    model[0].weight.data = 1e-20 * (1 + torch.randperm(1024).reshape(16, 64) * 2.0**-23)
    sparsity = None if pattern == "2:4" else 0.37
    twin = copy.deepcopy(model)
    assert prune(model, sparsity, criterion=Ln(n), pattern=pattern) == prune(
        twin, sparsity, pattern=pattern
    )


@pytest.mark.parametrize("n", [1, 2, 3, math.inf])
def test_rows_are_those_of_torchs_ln_structured(n: float) -> None:
    model = mlp(33, 20)
    theirs = copy.deepcopy(model)
    mask = prune(model, 0.55, criterion=Ln(n), pattern="channels")["0.weight"]
    torch_prune.ln_structured(theirs[0], "weight", 0.55, n=n, dim=0)
    assert torch.equal(mask, theirs[0].weight_mask.bool())


def test_the_norm_decides_where_norms_disagree() -> None:
    """L1 norms are 6, 5, 4; L2 norms squared 12, 17, 16; the largest 2, 4, 4."""
    weight = torch.tensor([[2.0, 2, 2, 0], [4, 1, 0, 0], [4, 0, 0, 0]])
    removed = {}
    for name in ("l1", "l2", "linf"):
        layer = nn.Linear(4, 3)
        layer.weight.data = weight.clone()
        mask = prune(layer, 1 / 3, criterion=name, pattern="channels")["weight"]
        (removed[name],) = (~mask.any(1)).nonzero().flatten().tolist()
    assert removed == {"l1": 2, "l2": 0, "linf": 0}


@pytest.mark.parametrize("n", EXPONENTS)
@pytest.mark.parametrize("scale", [1e-35, 1.0, 1e30])
def test_no_power_over_or_underflows(n: float, scale: float) -> None:
    """Rows 1 .. 8 times the same numbers; |w|^100 is no float64 at either scale."""
    layer = nn.Linear(6, 8)
    order = torch.tensor([3, 8, 1, 6, 2, 7, 5, 4.0])
    layer.weight.data = scale * order[:, None] * torch.tensor([1.0, -2, 0, 3, 0.5, -1])
    mask = prune(layer, 0.5, criterion=Ln(n), pattern="channels")["weight"]
    assert torch.equal(mask.all(1), order > 4)


@pytest.mark.parametrize("n", EXPONENTS)
def test_units_of_different_sizes_compete_by_what_a_weight_of_them_is(n: float) -> None:
    """A norm would grow with the number of weights, and the wider layer would win by its width."""
    model = mlp(4, 6, 3)
    model[0].weight.data.fill_(2.0)
    model[2].weight.data.fill_(1.0)
    masks = prune(model, 1 / 3, criterion=Ln(n), pattern="channels", scope="global")
    assert bool(masks["0.weight"].all())
    assert not bool(masks["2.weight"].any())


@pytest.mark.parametrize("n", EXPONENTS)
def test_infinite_and_empty_rows_are_first_and_last(n: float) -> None:
    layer = nn.Linear(3, 3)
    layer.weight.data = torch.tensor([[0.0, 0, 0], [math.inf, 0, 1], [1, 1, 1]])
    assert prune(layer, 1 / 3, criterion=Ln(n), pattern="channels")["weight"].any(1).tolist() == [
        False,
        True,
        True,
    ]
    layer.weight.data = torch.tensor([[5.0, 5, 5], [-math.inf, 0, 0], [9, 9, 9]])
    kept = prune(layer, 2 / 3, criterion=Ln(n), pattern="channels")["weight"].any(1)
    assert kept.tolist() == [False, True, False]


def test_its_name_says_n() -> None:
    masks = prune(mlp(4, 4), 0.5, criterion=Ln(2.5))
    assert masks.origin is not None
    assert masks.origin.criterion == "l2.5"


@pytest.mark.parametrize("n", [0, -1, math.nan, True, "2", -math.inf])
def test_what_is_no_norm_is_refused(n: object) -> None:
    with pytest.raises(ValueError, match=r"Ln: n must be a number above 0, or math.inf, not"):
        Ln(n)
