"""Movement along a training run, against sums kept by hand; resumed bit for bit."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

from secateur.pruning import prune, schedules, verify
from secateur.training import GradualPruner
from tests.pruning.models import mlp

STEPS = 12


def build(seed: int = 0) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = mlp(8, 6, 3)
    return model, torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)


def backward(model: nn.Module, step: int) -> None:
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(step))
    (model(x) - 1).square().mean().backward()


def test_it_is_minus_the_sum_of_weight_times_gradient() -> None:
    """The weight is that before the step, the gradient what all micro-batches left."""
    model, optimizer = build()
    names = ("0.weight", "2.weight")
    sums = {name: torch.zeros_like(model.get_parameter(name)) for name in names}
    plan = schedules.one_shot(0.5, step=STEPS - 1)
    pruner = GradualPruner(model, optimizer, plan, criterion="movement")
    for step in range(STEPS):
        optimizer.zero_grad()
        backward(model, 2 * step)
        backward(model, 2 * step + 1)
        for name in names:
            weight = model.get_parameter(name)
            sums[name] = sums[name] - weight.detach() * weight.grad
        optimizer.step()
        assert pruner.step() == (step == STEPS - 1)
    for name, total in sums.items():
        mask = pruner.masks[name].flatten()
        flat = total.flatten()
        assert int((~mask).sum()) == round(0.5 * flat.numel())
        assert float(flat[mask].min()) >= float(flat[~mask].max())


def test_it_keeps_what_grows_and_not_what_is_large() -> None:
    """Training pulls the large weights to zero and the small ones away from it."""
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[5.0, 0.1], [-5, -0.1]])
    goal = torch.tensor([[1.0, 3.0], [-1, -3]])
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    plan = schedules.one_shot(0.5, step=2)
    with GradualPruner(layer, optimizer, plan, criterion="movement") as pruner:
        for _ in range(3):
            optimizer.zero_grad()
            (layer.weight - goal).square().sum().backward()
            optimizer.step()
            pruner.step()
    assert pruner.masks["weight"].tolist() == [[False, True], [False, True]]
    assert float(layer.weight[0, 1].detach().abs()) < 3.0


def test_what_is_removed_does_not_change_the_sums_of_what_is_kept() -> None:
    """A score of data that are zero already says nothing; it must not be asked, nor come back."""
    model, optimizer = build()
    plan = schedules.linear(0.1, 0.8, steps=range(3, STEPS))
    pruner = GradualPruner(model, optimizer, plan, criterion="movement", scope="layer")
    sums = {n: torch.zeros_like(model.get_parameter(n)) for n in pruner.masks}
    removed = {n: torch.zeros_like(t, dtype=torch.bool) for n, t in sums.items()}
    for step in range(STEPS):
        optimizer.zero_grad()
        backward(model, step)
        for name in sums:
            weight = model.get_parameter(name)
            sums[name] = sums[name] - weight.detach() * weight.grad
        optimizer.step()
        pruner.step()
        verify(model, pruner.masks).require()
        for name, mask in pruner.masks.items():
            assert not bool((removed[name] & mask).any()), "a weight came back"
            alive = ~removed[name]
            ours, gone = sums[name][alive & mask], sums[name][alive & ~mask]
            assert not len(gone) or float(ours.min()) >= float(gone.max())
            removed[name] = ~mask
    assert pruner.masks.origin is not None
    assert pruner.masks.origin.sparsity == 0.8


@pytest.mark.parametrize("stop", [2, 7])
def test_a_run_that_stops_goes_on_bit_for_bit(stop: int) -> None:
    plan = schedules.linear(0.1, 0.8, steps=range(3, STEPS))

    def train(model: nn.Module, optimizer: Any, pruner: GradualPruner, steps: range) -> None:
        for step in steps:
            optimizer.zero_grad()
            backward(model, step)
            optimizer.step()
            pruner.step()

    model, optimizer = build()
    pruner = GradualPruner(model, optimizer, plan, criterion="movement")
    train(model, optimizer, pruner, range(stop))
    file = io.BytesIO()
    torch.save([thing.state_dict() for thing in (model, optimizer, pruner)], file)
    train(model, optimizer, pruner, range(stop, STEPS))

    resumed, its_optimizer = build(seed=1)
    its = GradualPruner(resumed, its_optimizer, plan, criterion="movement")
    file.seek(0)
    things = (resumed, its_optimizer, its)
    for thing, state in zip(things, torch.load(file, weights_only=True), strict=True):
        thing.load_state_dict(state)
    train(resumed, its_optimizer, its, range(stop, STEPS))
    assert all(torch.equal(its.masks[name], mask) for name, mask in pruner.masks.items())
    for a, b in zip(resumed.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_saved_state_is_not_changed_by_going_on() -> None:
    model, optimizer = build()
    pruner = GradualPruner(model, optimizer, schedules.one_shot(0.5, step=9), criterion="movement")
    backward(model, 0)
    optimizer.step()
    state = pruner.state_dict()
    saved = copy.deepcopy(state["history"])
    optimizer.step()
    assert all(torch.equal(state["history"][name], saved[name]) for name in saved)
    assert all(bool(total.any()) for total in saved.values())


def test_a_step_that_a_grad_scaler_skips_is_not_counted() -> None:
    model, optimizer = build()
    plan = schedules.one_shot(0.5, step=9)
    pruner = GradualPruner(model, optimizer, plan, criterion="movement")
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step, factor in ((0, 1.0), (1, float("inf"))):
        optimizer.zero_grad()
        x = torch.randn(5, 8, generator=torch.Generator().manual_seed(step))
        scaler.scale(factor * model(x).square().mean()).backward()
        before = {n: t.clone() for n, t in pruner.state_dict()["history"].items()}
        weights = {n: model.get_parameter(n).detach().clone() for n in before}
        scaler.step(optimizer)
        scaler.update()
        after = pruner.state_dict()["history"]
        for name, total in after.items():
            if step:
                assert torch.equal(total, before[name])
            else:
                # Unscaled, by a power of two.
                assert torch.equal(total, -weights[name] * model.get_parameter(name).grad)


def test_detached_it_follows_no_more() -> None:
    model, optimizer = build()
    with GradualPruner(model, optimizer, schedules.one_shot(0.5), criterion="movement"):
        assert optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("criterion", ["movement", "taylor", "snip"])
def test_a_frozen_weight_is_refused_and_nothing_stays_hooked(criterion: str) -> None:
    model, optimizer = build()
    model[2].weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"'2\.weight', which is frozen.*ignore=\['2'\]"):
        GradualPruner(model, optimizer, schedules.one_shot(0.5), criterion=criterion)
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_without_a_training_run_there_is_no_movement() -> None:
    with pytest.raises(ValueError, match="follows a training run step by step: use GradualPruner"):
        prune(mlp(4, 4), 0.5, criterion="movement")
