"""Taylor and SNIP against gradients worked out by hand, and where the gradients come from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from secateur.pruning import prune, schedules
from secateur.pruning.criteria import find_criterion
from secateur.pruning.evidence import Request, gather
from secateur.pruning.targets import select
from secateur.training import GradualPruner
from tests.pruning.models import mlp
from tests.pruning.test_calibration import integers, traces
from tests.pruning.test_prune import assert_same_state, state

GRADIENT_CRITERIA = ("taylor", "taylor_abs", "taylor_squared", "snip")
Batch = tuple[Tensor, Tensor]


def linear_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Return sum of y t, whose gradient by W is t^T x: whole numbers."""
    x, t = batch
    return (model(x) * t).sum()


def batches() -> list[Batch]:
    return [(integers(5, 6), integers(5, 4)) for _ in range(3)]


def layer() -> nn.Linear:
    made = nn.Linear(6, 4)
    made.weight.data = integers(4, 6)
    return made


def scores(criterion: str, model: nn.Module, data: list[Batch]) -> Tensor:
    ours = find_criterion(criterion)
    found = select(model)
    evidence = gather(Request(ours, model, found, data, linear_loss))
    return ours.score(found["weight"].matrix, evidence["weight"])


def test_scores_are_those_of_hand_made_gradients() -> None:
    model, data = layer(), batches()
    gradients = [t.T @ x for x, t in data]
    w = model.weight.detach()
    total = sum(gradients[1:], gradients[0])
    assert torch.equal(scores("taylor", model, data), w * total)
    assert torch.equal(scores("taylor_abs", model, data), (w * total).abs())
    assert torch.equal(scores("snip", model, data), (w * total).abs())
    squares = sum((g.square() for g in gradients[1:]), gradients[0].square())
    assert torch.equal(scores("taylor_squared", model, data), w.square() * squares)


def pruned_rows(criterion: str, weight: Tensor, gradients: list[Tensor]) -> list[int]:
    """Prune one of the rows of a layer whose batches have these gradients; say which."""
    model = nn.Linear(weight.shape[1], len(weight))
    model.weight.data = weight.clone()
    # Each batch is one row of x per gradient row: x = gradient, t picks the output.
    data = [(g, torch.eye(len(weight))) for g in gradients]
    masks = prune(
        model,
        1 / len(weight),
        criterion=criterion,
        pattern="channels",
        calibration=data,
        loss=linear_loss,
    )
    return (~masks["weight"].any(1)).nonzero().flatten().tolist()


def test_weights_of_a_unit_cancel_in_one_convention_only() -> None:
    """Row 0: 3 - 3, row 1: 1 + 1."""
    weight, gradient = torch.ones(2, 2), torch.tensor([[3.0, -3], [1, 1]])
    assert pruned_rows("taylor", weight, [gradient]) == [0]
    assert pruned_rows("taylor_abs", weight, [gradient]) == [1]
    assert pruned_rows("taylor_squared", weight, [gradient]) == [1]


def test_batches_cancel_unless_squares_are_added() -> None:
    """Row 0: 3 and -3 in two batches, row 1: 1 and 1."""
    weight = torch.ones(2, 1)
    gradients = [torch.tensor([[3.0], [1]]), torch.tensor([[-3.0], [1]])]
    assert pruned_rows("taylor", weight, gradients) == [0]
    assert pruned_rows("taylor_abs", weight, gradients) == [0]
    assert pruned_rows("snip", weight, gradients) == [0]
    assert pruned_rows("taylor_squared", weight, gradients) == [1]


def test_units_add_up_what_they_hold_when_layers_compete() -> None:
    """Removing 6 weights of 1 changes the loss by 6, removing 2 of 2 by 4: sums, not means."""
    model = mlp(6, 2, 2)
    for i, value in ((0, 1.0), (2, 2.0)):
        model[i].weight.data.fill_(1.0)
        model[i].weight.grad = torch.full_like(model[i].weight, value)
    for criterion in ("taylor", "taylor_abs", "snip"):
        masks = prune(model, 0.5, criterion=criterion, pattern="channels", scope="global")
        assert bool(masks["0.weight"].all())
        assert not bool(masks["2.weight"].any())
        for i in (0, 2):
            model[i].weight.data.fill_(1.0)


def test_snip_is_the_derivative_by_a_gate_on_each_weight() -> None:
    model = mlp(6, 8, 4).double()
    x, target = torch.randn(9, 6).double(), torch.randint(0, 4, (9,))
    gates = {name: torch.ones_like(p) for name, p in model.named_parameters()}
    for gate in gates.values():
        gate.requires_grad_()
    gated = {name: p.detach() * gates[name] for name, p in model.named_parameters()}
    nn.functional.cross_entropy(functional_call(model, gated, (x,)), target).backward()
    flat = torch.cat([gates[f"{i}.weight"].grad.abs().flatten() for i in (0, 2)])
    wanted = torch.ones(len(flat), dtype=torch.bool)
    wanted[flat.sort(stable=True).indices[: round(0.6 * len(flat))]] = False

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    masks = prune(model, 0.6, criterion="snip", calibration=[(x, target)], loss=loss)
    assert masks.origin is not None
    assert masks.origin.scope == "global"
    assert torch.equal(torch.cat([m.flatten() for m in masks.values()]), wanted)


@pytest.mark.parametrize("criterion", GRADIENT_CRITERIA)
def test_the_gradients_the_user_left_do_as_well(criterion: str) -> None:
    model, twin = layer(), layer()
    twin.load_state_dict(model.state_dict())
    data = batches()[:1]
    linear_loss(model, data[0]).backward()
    left = model.weight.grad.clone()
    ours = prune(model, 0.5, criterion=criterion)
    assert ours == prune(twin, 0.5, criterion=criterion, calibration=data, loss=linear_loss)
    assert torch.equal(model.weight.grad, left)
    assert twin.weight.grad is None


@pytest.mark.parametrize("criterion", GRADIENT_CRITERIA)
def test_a_run_over_batches_leaves_nothing(criterion: str) -> None:
    """Gradients that are there stay; hooks on them do not fire; modes come back."""
    model = nn.Sequential(layer(), nn.Dropout(0.5), nn.BatchNorm1d(4))
    model[2].eval()
    model[0].weight.grad = integers(4, 6)
    fired: list[Tensor] = []
    model[0].weight.register_post_accumulate_grad_hook(fired.append)
    before, left = state(model), traces(model)
    masks = prune(model, 0.5, criterion=criterion, calibration=batches(), loss=linear_loss)
    masks_only = {"0.weight": before["0.weight"].where(masks["0.weight"], 0.0)}
    assert_same_state(model, before | masks_only)
    assert traces(model) == left
    assert not fired


def test_gradients_work_where_they_are_switched_off() -> None:
    with torch.no_grad():
        masks = prune(layer(), 0.5, criterion="taylor", calibration=batches(), loss=linear_loss)
    assert masks.sparsity == 0.5


def frozen() -> nn.Module:
    model = mlp(6, 5, 4)
    model[2].weight.requires_grad_(False)
    return model


def unfinished() -> nn.Module:
    model = mlp(6, 5, 4)
    model[0].weight.grad = torch.ones(5, 6)
    return model


def broken() -> nn.Module:
    model = mlp(6, 4)
    model[0].weight.grad = torch.full((4, 6), torch.nan)
    return model


def beside() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 4))
    model.register_module("unused", nn.Linear(3, 3))
    model.forward = model[0].forward
    return model


DATA = {"calibration": [(torch.ones(2, 6), torch.ones(2, 4))]}


@pytest.mark.parametrize("criterion", GRADIENT_CRITERIA)
@pytest.mark.parametrize(
    ("make", "given", "says"),
    [
        (frozen, {}, r"gradient of '2.weight', which is frozen.*ignore=\['2'\]"),
        (frozen, {**DATA, "loss": linear_loss}, "'2.weight', which is frozen"),
        (unfinished, {}, r"'2.weight' has none: call loss.backward\(\) first, or give calibration"),
        (unfinished, DATA, "needs batches and a loss.*give loss=lambda model, batch"),
        (unfinished, {"loss": linear_loss}, r"needs batches and a loss.*calibration=\[...\] too"),
        (broken, {}, "the gradient of '0.weight' holds NaN or inf"),
        (beside, {**DATA, "loss": linear_loss}, "loss does not depend on 'unused.weight'"),
        (unfinished, {**DATA, "loss": lambda m, b: m(b[0])}, r"a scalar.*returned \[2, 4\]"),
        (unfinished, {**DATA, "loss": lambda m, b: 0.5}, "returned float"),
        (unfinished, {"calibration": [], "loss": linear_loss}, "calibration gave no batch"),
    ],
)
def test_without_gradients_the_layer_is_named(
    criterion: str, make: Any, given: dict[str, Any], says: str
) -> None:
    model = make()
    before, left = state(model), traces(model)
    with pytest.raises(ValueError, match=says):
        prune(model, 0.5, criterion=criterion, **given)
    assert_same_state(model, before)
    assert str(traces(model)) == str(left)


def test_gradual_pruning_asks_for_gradients_before_they_are_dropped() -> None:
    model = mlp(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    pruner = GradualPruner(model, optimizer, schedules.one_shot(0.5), criterion="taylor")
    model(torch.randn(3, 6)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    with pytest.raises(ValueError, match=r"'0.weight' has none: call loss.backward"):
        pruner.step()
    assert pruner.masks.sparsity == 0.0
    model(torch.randn(3, 6)).square().sum().backward()
    expected = (model[0].weight * model[0].weight.grad).abs().detach()
    assert pruner.step()
    mask = pruner.masks["0.weight"]
    assert float(expected[mask].min()) >= float(expected[~mask].max())


def test_gradual_pruning_reads_its_batches_anew_each_time() -> None:
    model = mlp(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    plan = schedules.linear(0.2, 0.8, steps=range(3))
    words: dict[str, Any] = {"criterion": "taylor_squared", "loss": linear_loss}
    with pytest.raises(ValueError, match="read each time masks are made, and an iterator"):
        GradualPruner(model, optimizer, plan, calibration=iter(batches()), **words)
    with pytest.raises(ValueError, match="reads no batches; leave calibration out"):
        GradualPruner(model, optimizer, plan, calibration=batches())
    pruner = GradualPruner(model, optimizer, plan, calibration=batches(), **words)
    for _ in range(4):
        pruner.step()
    assert pruner.masks.kept == 24 - round(0.8 * 24)
