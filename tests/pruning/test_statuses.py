"""Nothing is left out in silence: every parameter has a status, a reason, and counted weights."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torchs

import secateur as sc
from secateur.pruning import Masks
from secateur.pruning.statuses import Status
from tests.pruning.models import Zoo, mlp

CALLS: dict[str, Any] = {
    "prune": lambda model, **how: sc.prune(model, **how).report(),
    "plan": lambda model, **how: sc.plan(model, **how).statuses,
    "verify": lambda model, **how: sc.verify(model, sc.prune(model, **how)).statuses,
}


def words(found: tuple[Status, ...]) -> dict[str, str]:
    return {s.name: f"{s.word}: {s.reason}" if s.reason else s.word for s in found}


@pytest.mark.parametrize("call", CALLS)
def test_every_parameter_of_every_kind(call: str) -> None:
    model = Zoo()
    model.recurrent = nn.LSTM(4, 4)
    model.blocks[1].requires_grad_(False)
    ignore = ["blocks.0", nn.MultiheadAttention]
    found = CALLS[call](model, sparsity=0.5, ignore=ignore)
    assert [s.name for s in found] == [
        name for name, _ in model.named_parameters(remove_duplicate=False)
    ]
    said = words(found)
    assert said["conv.weight"] == said["hugging.weight"] == said["head.weight"] == "pruned"
    assert said["embedding.weight"] == "pruned: tied to 'head.weight', pruned once"
    assert said["blocks.1.weight"] == "pruned: frozen, pruned all the same"
    assert said["blocks.0.weight"] == said["blocks.0.bias"] == "ignored: ignore='blocks.0'"
    assert said["attention.in_proj_weight"] == "ignored: ignore=MultiheadAttention"
    assert said["conv.bias"] == said["blocks.1.bias"] == "bias"
    assert said["norm.weight"] == said["norm.bias"] == "norm"
    assert said["line.weight"].startswith("not selected: nn.Conv1d must be asked for")
    assert said["recurrent.weight_ih_l0"].startswith("other: LSTM is none of nn.Linear")
    assert said["recurrent.bias_ih_l0"] == "bias"


@pytest.mark.parametrize("call", CALLS)
def test_what_is_reported_is_counted(call: str) -> None:
    """A global scope gives every layer its own sparsity; rounding moves the one asked for."""
    model = mlp(7, 5, 3)
    found = CALLS[call](model, sparsity=0.5, scope="global")
    twin = copy.deepcopy(model)
    sc.prune(twin, sparsity=0.5, scope="global")
    for status in found:
        weight = dict(twin.named_parameters())[status.name]
        assert status.total == weight.numel()
        if status.word == "pruned":
            assert status.kept == int(weight.count_nonzero())
        else:
            assert status.kept == status.total


def test_selected_by_targets() -> None:
    model = Zoo()
    said = words(sc.prune(model, 0.5, targets=["conv", nn.Conv1d]).report())
    assert said["line.weight"] == "pruned"
    assert said["grouped.weight"] == "not selected: targets=['conv', Conv1d]"
    assert said["embedding.weight"] == "embedding"


def test_a_pattern_that_does_not_fit_says_why() -> None:
    model = mlp(16, 10, 4)
    plan = sc.plan(model, pattern="2:4")
    unfit = "unfit: pattern 2:4 needs in_features divisible by 4, not 10"
    assert words(plan.statuses)["2.weight"] == unfit
    assert unfit in str(plan)


def test_a_model_that_is_only_looked_at() -> None:
    said = words(sc.plan(Zoo()).statuses)
    assert said["conv.weight"] == "kept"
    assert said["norm.weight"] == "norm"
    assert said["embedding.weight"] == "embedding"


@pytest.mark.parametrize(
    ("model", "how", "says"),
    [
        (Zoo, {"sparsity": 0.5}, r"'line.weight' would be left out.*nn.Conv1d must be asked for"),
        (
            lambda: nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4)),
            {"sparsity": 0.5, "targets": "*"},
            r"'1.weight_ih_l0' would be left out.*LSTM is none of.*ignore=\['1.weight_ih_l0'\]",
        ),
        (
            lambda: nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 4)),
            {"sparsity": 0.5, "targets": ["0", "1"]},
            "matches only Embedding",
        ),
        (
            lambda: nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 4)),
            {"sparsity": 0.5, "targets": "*"},
            "'0.weight' would be left out: embedding",
        ),
        (lambda: mlp(16, 10, 4), {"pattern": "2:4"}, "divisible by 4, not 10"),
    ],
)
@pytest.mark.parametrize("call", [sc.prune, sc.plan])
def test_strict_refuses_the_first_skip(call: Any, model: Any, how: Any, says: str) -> None:
    made = model()
    before = copy.deepcopy(made.state_dict())
    with pytest.raises(ValueError, match=says):
        call(made, **how, strict=True)
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())


def test_strict_takes_the_users_word() -> None:
    """What `ignore` names, or `targets` does not, is no skip; nor are biases and norms."""
    sc.prune(Zoo(), 0.5, ignore=nn.Conv1d, strict=True)
    sc.prune(Zoo(), 0.5, targets=["conv", "blocks.*"], strict=True)
    model = mlp(16, 10, 4)
    masks = sc.prune(model, pattern="2:4", ignore="2", strict=True)
    sc.verify(model, masks, strict=True).require()
    zoo = Zoo()
    with pytest.raises(ValueError, match=r"'line.weight' would be left out"):
        sc.verify(zoo, sc.prune(zoo, 0.5), strict=True)


def test_masks_of_a_gradual_pruner_report_too() -> None:
    model = Zoo()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    schedule = sc.schedules.one_shot(0.5)
    with sc.GradualPruner(model, optimizer, schedule, ignore="head") as pruner:
        pruner.step()
        said = words(pruner.masks.report())
    assert said["head.weight"] == said["embedding.weight"] == "ignored: ignore='head'"
    assert said["conv.weight"] == "pruned"


def test_a_report_needs_a_model() -> None:
    model = mlp(4, 4, 4)
    masks = sc.prune(model, 0.5, ignore=lambda name, module: name == "2")
    assert words(masks.report())["2.weight"] == "ignored: ignore=a predicate"
    twin = pickle.loads(pickle.dumps(masks))
    assert twin.report() == ()
    assert "notes" not in str(twin)
    assert words(twin.report(model))["2.weight"] == "kept"
    assert Masks({}).report() == ()


def test_weights_behind_another_librarys_mask() -> None:
    model = mlp(4, 4, 4)
    torchs.l1_unstructured(model[0], "weight", 0.5)
    said = words(sc.verify(model).statuses)
    assert "secateur.compat.adopt(model)" in said["0.weight_orig"]
    assert said["2.weight"] == "pruned"
