"""Scores of the user's own: functions, tensors, objects; in the parameters' own shape."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur.pruning import prune, schedules
from secateur.pruning.criteria import find_criterion
from secateur.training import GradualPruner
from tests.pruning.models import Zoo, mlp
from tests.pruning.test_prune import assert_same_state, state


def size(weight: Tensor) -> Tensor:
    return weight.abs()


def named_size(name: str, weight: Tensor) -> Tensor:
    return weight.abs() + 0 * len(name)


def with_defaults(weight: Tensor, power: float = 2.0) -> Tensor:
    return weight.abs().pow(power)


@pytest.mark.parametrize(
    "criterion", [size, named_size, torch.abs, with_defaults, lambda w: w.abs(), lambda n, w: w**2]
)
@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_a_function_sees_every_parameter_in_its_own_shape(criterion: Any, pattern: str) -> None:
    model = Zoo()
    twin = copy.deepcopy(model)
    sparsity = 0.5 if pattern == "unstructured" else None
    ours = prune(model, sparsity, criterion=criterion, pattern=pattern)
    assert ours == prune(twin, sparsity, pattern=pattern)


@pytest.mark.parametrize("scope", ["layer", "row", "global"])
def test_a_mapping_is_the_same_as_a_function(scope: str) -> None:
    model = Zoo()
    twin = copy.deepcopy(model)
    scores = {
        name: p.detach().square() for name, p in model.named_parameters(remove_duplicate=False)
    }
    ours = prune(model, 0.5, criterion=scores, scope=scope)
    assert ours == prune(twin, 0.5, scope=scope)
    assert ours.origin is not None
    assert ours.origin.criterion == "scores"


def test_a_function_is_told_the_name_and_asked_once_for_each_layer() -> None:
    """Scopes read scores several times; a function that draws must not answer differently."""
    asked = []

    def draws(name: str, weight: Tensor) -> Tensor:
        asked.append((name, tuple(weight.shape)))
        return torch.rand(weight.shape)

    model = mlp(8, 6, 4)
    masks = prune(model, 0.5, criterion=draws, scope="global")
    assert asked == [("0.weight", (6, 8)), ("2.weight", (4, 6))]
    assert masks.kept == 36
    assert masks.origin is not None
    assert masks.origin.criterion == "draws"


def test_a_function_cannot_change_the_weight() -> None:
    def greedy(weight: Tensor) -> Tensor:
        return weight.mul_(0).add_(1)

    model = mlp(8, 4)
    before = model[0].weight.detach().clone()
    mask = prune(model, 0.5, criterion=greedy)["0.weight"]
    assert torch.equal(model[0].weight, before.where(mask, 0.0))


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.bfloat16, torch.bool])
def test_scores_keep_their_precision(dtype: torch.dtype) -> None:
    """In float32, 2^24 and 2^24 + 1 are one number."""
    base = 0 if dtype in (torch.bfloat16, torch.bool) else 2**24
    rank = torch.tensor([[1, 0, 1, 0]]) + base
    layer = nn.Linear(4, 1)
    mask = prune(layer, 0.5, criterion={"weight": rank.to(dtype)})["weight"]
    assert mask.tolist() == [[True, False, True, False]]


def test_scores_may_be_negative_and_infinite_but_upwards() -> None:
    layer = nn.Linear(4, 1)
    scores = torch.tensor([[-1.0, torch.inf, -2, -1]])
    assert prune(layer, 0.5, criterion={"weight": scores})["weight"].tolist() == [
        [True, True, False, False]
    ]
    with pytest.raises(ValueError, match="gives NaN or -inf for 'weight'"):
        prune(layer, 0.5, criterion={"weight": -scores})


def test_objects_and_classes_with_a_score_stay_criteria() -> None:
    class Last:
        name, needs = "last", frozenset[str]()

        def score(self, weight: Tensor, evidence: object) -> Tensor:
            return torch.arange(weight.numel()).reshape(weight.shape).float()

    for criterion in (Last(), Last):
        mask = prune(nn.Linear(4, 1), 0.5, criterion=criterion)["weight"]
        assert mask.tolist() == [[False, False, True, True]]


def test_gradual_pruning_asks_anew() -> None:
    model = mlp(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    plan = schedules.linear(0.25, 0.75, steps=range(2))
    pruner = GradualPruner(model, optimizer, plan, criterion=size)
    pruner.step()
    with torch.no_grad():
        model[0].weight[pruner.masks["0.weight"]] = torch.arange(1, 25.0)
    pruner.step()
    assert sorted(model[0].weight[pruner.masks["0.weight"]].tolist()) == list(range(17, 25))


@pytest.mark.parametrize(
    ("criterion", "error", "says"),
    [
        (
            {},
            ValueError,
            "no scores for '0.weight', which is to.*scores for none",
        ),
        ({"0.weight": torch.ones(4, 8)}, ValueError, "no scores for '2.weight'"),
        (
            {"0.wieght": torch.ones(4, 8)},
            ValueError,
            "for '0.wieght', which is no parameter",
        ),
        (lambda w: w.T, ValueError, r"'0.weight' must be real numbers, \[4, 8\] as the parameter"),
        (lambda w: w.to(torch.complex64), ValueError, "not torch.complex64"),
        (lambda w: w.tolist(), TypeError, "scores of '0.weight' must be a tensor, not list"),
        (lambda w: w * torch.nan, ValueError, "'<lambda>' gives NaN or -inf for '0.weight'"),
        (3, TypeError, r"criterion must be a name, an object with .score, a function .*, not 3"),
        (None, TypeError, "not None"),
    ],
)
def test_what_is_no_score_is_named(criterion: Any, error: type[Exception], says: str) -> None:
    model = mlp(8, 4, 2)
    before = state(model)
    with pytest.raises(error, match=says):
        prune(model, 0.5, criterion=criterion)
    assert_same_state(model, before)


def test_a_criterion_of_a_name_is_made_anew() -> None:
    """Nothing that one call leaves on a criterion is there for the next."""
    assert find_criterion("synflow") is not find_criterion("synflow")
