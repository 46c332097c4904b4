"""Random and Bernoulli: the counts, the fairness, and where the draws come from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from secateur.pruning import prune, schedules, verify
from secateur.training import GradualPruner
from tests.pruning.models import mlp


def draw(criterion: str, seed: int, sparsity: float = 0.5, pattern: str = "unstructured") -> Tensor:
    """Return the masks of 4 rows of 64 weights and 4 of 4, as one flat tensor."""
    generator = torch.Generator().manual_seed(seed)
    masks = prune(
        mlp(64, 4, 4),
        sparsity,
        criterion=criterion,
        pattern=pattern,
        scope="global",
        generator=generator,
    )
    return torch.cat([mask.flatten() for mask in masks.values()])


def test_bernoulli_counts_are_binomial() -> None:
    """200 draws of 272 coins: mean and variance within 6 of their standard deviations."""
    n, p, times = 272, 0.3, 200
    removed = torch.tensor([float((~draw("bernoulli", seed, p)).sum()) for seed in range(times)])
    variance = n * p * (1 - p)
    assert abs(float(removed.mean()) - n * p) <= 6 * math.sqrt(variance / times)
    # The fourth central moment of a binomial count is below 3 variance^2 + variance.
    spread = math.sqrt((2 * variance**2 + variance) / times)
    assert abs(float(removed.var()) - variance) <= 6 * spread
    exact = {int((~draw("random", seed, p)).sum()) for seed in range(5)}
    assert exact == {round(n * p)}


@pytest.mark.parametrize("criterion", ["random", "bernoulli"])
def test_no_unit_is_preferred_whatever_its_size(criterion: str) -> None:
    """Rows of 64 and of 4: a mean of many draws is nearer to a half, and would live less often."""
    times = 400
    counts = sum(draw(criterion, seed, 0.25, "channels").float() for seed in range(times))
    assert float((counts - 0.75 * times).abs().max()) <= 6 * math.sqrt(times * 0.75 * 0.25)


def test_bernoulli_follows_its_generator_and_can_be_verified() -> None:
    assert torch.equal(draw("bernoulli", 1), draw("bernoulli", 1))
    assert not torch.equal(draw("bernoulli", 1), draw("bernoulli", 2))
    before = torch.get_rng_state()
    model = mlp(16, 4, 4)
    torch.set_rng_state(before)
    masks = prune(model, 0.5, criterion="bernoulli", generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)
    verify(model, masks).require()
    assert masks.origin is not None
    assert masks.origin.sparsity == pytest.approx(masks.sparsity, abs=1e-12)


def test_something_always_survives() -> None:
    """Removing all 2 weights has a chance of 0.98: prune promises a sparsity below 1."""
    kept = {prune(mlp(2, 1), 0.99, criterion="bernoulli").kept for _ in range(20)}
    assert kept == {1}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"sparsity": 0.5, "scope": "layer"}, "scope='layer' or pattern unstructured fixes it"),
        ({"sparsity": 0.5, "scope": "row"}, "scope='row' or pattern unstructured fixes it"),
        ({"pattern": "2:4"}, 'pattern 2:4 fixes it layer by layer; use scope="global"'),
    ],
)
def test_a_coin_leaves_no_count_to_fix(words: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        prune(mlp(16, 4), criterion="bernoulli", **words)


def test_a_schedule_says_how_many_and_a_coin_cannot() -> None:
    model = mlp(16, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match='where the schedule says it; use criterion="random"'):
        GradualPruner(model, optimizer, schedules.one_shot(0.5), criterion="bernoulli")
