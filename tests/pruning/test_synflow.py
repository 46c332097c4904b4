"""SynFlow: closed forms, conservation, and a model that is not touched whatever happens."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.pruning import prune, verify
from secateur.pruning.criteria import SynFlow
from secateur.pruning.evidence import Request, gather
from secateur.pruning.targets import select
from secateur.training import GradualPruner
from tests.pruning.models import mlp
from tests.pruning.test_calibration import integers, traces
from tests.pruning.test_prune import assert_same_state, state


def scores(model: nn.Module, x: Any, masks: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    found = select(model)
    evidence = gather(Request(SynFlow(), model, found, [x], masks=masks))
    ours = {key: SynFlow().score(t.matrix, evidence[key]) for key, t in found.items()}
    return {
        key: s if masks is None else s * found[key].to_matrix(masks[key]) for key, s in ours.items()
    }


def small() -> nn.Sequential:
    model = mlp(5, 4, 3, 2)
    for parameter in model.parameters():
        parameter.data = integers(*parameter.shape)
    return model


def test_it_is_the_flow_through_each_weight() -> None:
    """All is linear and positive: the flow is (what comes in) (|w|) (what it leads to)."""
    model = small()
    first, second, third = (model[i].weight.detach().double().abs() for i in (0, 2, 4))
    biases = [model[i].bias.detach().double().abs() for i in (0, 2)]
    entering = [torch.ones(5, dtype=torch.float64)]
    for weight, bias in zip((first, second), biases, strict=True):
        entering.append(weight @ entering[-1] + bias)
    leaving = [third.sum(0) @ second, third.sum(0), torch.ones(2, dtype=torch.float64)]
    found = scores(model, torch.randn(7, 5))
    for i, weight in enumerate((first, second, third)):
        wanted = leaving[i][:, None] * weight * entering[i]
        assert torch.equal(found[f"{2 * i}.weight"], wanted)


def test_every_layer_carries_the_same_flow() -> None:
    """Conservation, theorem 2 of the paper, for a network without biases."""
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4, affine=False, eps=2.0**-100),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 2, bias=False),
        nn.Flatten(),
        nn.Linear(12, 5, bias=False),
    )
    for parameter in model.parameters():
        parameter.data = integers(*parameter.shape)
    found = scores(model, torch.randn(2, 2, 6, 6))
    totals = {float(score.sum()) for score in found.values()}
    assert len(totals) == 1
    assert totals.pop() > 0


def test_the_values_of_the_batch_do_not_matter_its_shape_does() -> None:
    model = small()
    a, b = scores(model, torch.randn(1, 5)), scores(model, -1e6 * torch.randn(8, 5))
    assert all(torch.equal(a[key], b[key]) for key in a)
    with pytest.raises(ValueError, match="does not run in float64 on ones shaped like the first"):
        scores(model, torch.randn(1, 6))


def test_what_is_masked_carries_nothing() -> None:
    model = small()
    masks = {key: torch.rand(t.weight.shape) > 0.3 for key, t in select(model).items()}
    found = scores(model, torch.ones(1, 5), masks)
    with torch.no_grad():
        for key, mask in masks.items():
            model.get_parameter(key).mul_(mask)
    twin = scores(model, torch.ones(1, 5))
    assert all(torch.equal(found[key], twin[key]) for key in found)


def test_rounds_leave_no_layer_empty_where_one_shot_criteria_do() -> None:
    """60 weights of 16 kept: magnitude takes a whole layer, and with it the network."""
    model = mlp(32, 32, 32, 32)
    for i in (0, 2, 4):
        model[i].weight.data = torch.randn(32, 32)
        model[i].bias.data.zero_()
    model[2].weight.data *= 0.01
    before = state(model)
    sparsity = 1 - 60 / (3 * 32 * 32)
    masks = prune(model, sparsity, scope="global")
    assert not bool(masks["2.weight"].any())
    model.load_state_dict(before)
    masks = prune(model, sparsity, criterion="synflow", calibration=[torch.ones(1, 32)])
    assert masks.kept == 60
    assert masks.origin is not None
    assert masks.origin.scope == "global"
    assert all(bool(mask.any()) for mask in masks.values())
    assert float(model(torch.ones(1, 32)).detach().abs().sum()) > 0
    verify(model, masks).require()


def test_it_goes_along_the_papers_schedule() -> None:
    """Round by round by hand, weights set to zero in between."""
    model, twin = mlp(12, 10, 8), mlp(12, 10, 8)
    twin.load_state_dict(model.state_dict())
    x = torch.ones(1, 12)
    ours = prune(model, 0.8, criterion=SynFlow(rounds=5), calibration=[x])
    n = 12 * 10 + 10 * 8
    for round_ in range(1, 6):
        found = scores(twin, x)
        flat = torch.cat([found["0.weight"].flatten(), found["2.weight"].flatten()])
        removed = round((1 - 0.2 ** (round_ / 5)) * n)
        mask = torch.ones(n, dtype=torch.bool)
        mask[flat.sort(stable=True).indices[:removed]] = False
        with torch.no_grad():
            twin[0].weight.mul_(mask[:120].view(10, 12))
            twin[2].weight.mul_(mask[120:].view(8, 10))
    assert torch.equal(ours["0.weight"], twin[0].weight != 0)
    assert torch.equal(ours["2.weight"], twin[2].weight != 0)


def test_a_deep_wide_network_does_not_overflow() -> None:
    """R is about 1e60: beyond float32, in which scores would all be infinite, and tie."""
    model = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(20)))
    for layer in model:
        layer.weight.data = 20 * torch.randn(64, 64)
    found = scores(model, torch.ones(1, 64))
    assert float(found["0.weight"].max()) > torch.finfo(torch.float32).max
    masks = prune(model, 0.5, criterion=SynFlow(rounds=1), calibration=[torch.ones(1, 64)])
    flat = torch.cat([found[key].flatten() for key in masks])
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    assert float(flat[kept].min()) >= float(flat[~kept].max())


class Fails(nn.Module):
    """Runs a few times, and then no more."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.runs = runs

    def forward(self, x: Tensor) -> Tensor:
        self.runs -= 1
        if not self.runs:
            raise RuntimeError("no more")
        return self.norm(self.layer(x))


@pytest.mark.parametrize("runs", [1, 2, 50, 100])
def test_the_model_is_bit_for_bit_what_it_was(runs: int) -> None:
    model = Fails(runs).train()
    model.norm.running_mean.normal_()
    model.layer.weight.grad = torch.ones(4, 4)
    before, left = state(model), traces(model)
    with pytest.raises(ValueError, match="its forward raised RuntimeError: no more"):
        prune(model, 0.5, criterion="synflow", calibration=[torch.ones(2, 4)])
    assert_same_state(model, before)
    assert traces(model) == left
    assert all(a.dtype == torch.float32 for a in model.parameters())


def test_a_shared_weight_is_one_weight() -> None:
    model = mlp(4, 4, 4)
    model[2].weight = model[0].weight
    masks = prune(model, 0.5, criterion="synflow", calibration=[torch.ones(1, 4)])
    assert masks.kept == 8
    assert model[2].weight is model[0].weight


class Tokens(nn.Module):
    """Whole numbers in, and a mapping of a list out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, ids: Tensor, scale: float = 1.0) -> dict[str, Any]:
        return {"logits": [self.layer(F.relu(self.embedding(ids))) * scale], "ids": ids}


def test_token_ids_stay_what_they_are() -> None:
    model = Tokens()
    found = scores(model, {"ids": torch.tensor([[1, 2], [3, 4]]), "scale": 2.0})
    entering = model.embedding.weight.detach().double().abs()[[1, 2]].sum(0)
    wanted = 2 * model.layer.weight.detach().double().abs() * entering
    off = 8 * torch.finfo(torch.float64).eps * wanted
    assert bool(((found["layer.weight"] - wanted).abs() <= off).all())


class Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -x


@pytest.mark.parametrize(
    ("model", "given", "says"),
    [
        (mlp(4, 4), {}, r"needs to know what an input looks like.*calibration=\[x\]"),
        (mlp(4, 4), {"calibration": iter([torch.ones(1, 4)])}, "in each of 100 rounds"),
        (mlp(4, 4), {"calibration": []}, "calibration gave no batch"),
        (
            nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4)),
            {"calibration": [torch.ones(1, 4)]},
            "more weight in '0.weight' does not mean more flow.*LayerNorm",
        ),
        (
            nn.Sequential(nn.Linear(4, 4), Gate()),
            {"calibration": [torch.ones(1, 4)]},
            "more weight in '0.weight' does not mean more flow",
        ),
        (
            nn.Sequential(nn.Linear(4, 4), Gate(), nn.ReLU(), nn.Linear(4, 4)),
            {"calibration": [torch.ones(1, 4)]},
            "no flow passes through '0.weight'",
        ),
    ],
)
def test_what_is_no_flow_is_refused(model: nn.Module, given: dict[str, Any], says: str) -> None:
    before = state(model)
    with pytest.raises(ValueError, match=says):
        prune(model, 0.5, criterion="synflow", **given)
    assert_same_state(model, before)


@pytest.mark.parametrize("rounds", [0, -1, 1.5, True])
def test_rounds_are_whole_numbers(rounds: Any) -> None:
    with pytest.raises(ValueError, match="rounds must be a whole number, 1 or more"):
        SynFlow(rounds)


def test_along_a_schedule_the_steps_are_the_rounds() -> None:
    model, twin = mlp(12, 10, 8), mlp(12, 10, 8)
    twin.load_state_dict(model.state_dict())
    x, n = torch.ones(1, 12), 200
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    pruner = GradualPruner(
        model,
        optimizer,
        lambda step: 1 - 0.2 ** ((step + 1) / 5),
        criterion="synflow",
        calibration=[x],
    )
    for _ in range(5):
        pruner.step()
    ours = prune(twin, 0.8, criterion=SynFlow(rounds=5), calibration=[x])
    assert pruner.masks == ours
    assert pruner.masks.kept == n - round(0.8 * n)
