"""Pruning along a schedule: monotone, exact, and resumed bit for bit."""

from __future__ import annotations

import copy
import io
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.pruning import prune, schedules, verify
from secateur.training import GradualPruner
from tests.pruning.models import mlp

STEPS = range(2, 20, 3)


def build(seed: int = 0) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = mlp(16, 24, 3)
    return model, torch.optim.AdamW(model.parameters(), 0.02, weight_decay=0.1)


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, pruner: GradualPruner, steps: range
) -> list[dict[str, Tensor]]:
    """Return the masks after each step; step i always sees the same data."""
    history = []
    for step in steps:
        x = torch.randn(6, 16, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        F.mse_loss(model(x), torch.ones(6, 3)).backward()
        optimizer.step()
        pruner.step()
        verify(model, pruner.masks).require()
        history.append({name: mask.clone() for name, mask in pruner.masks.items()})
    return history


@pytest.mark.parametrize("scope", ["layer", "row", "global"])
@pytest.mark.parametrize("criterion", ["magnitude", "random"])
def test_sparsity_follows_the_schedule_and_nothing_comes_back(criterion: str, scope: str) -> None:
    model, optimizer = build()
    schedule = schedules.cubic(0.1, 0.8, steps=STEPS)
    with GradualPruner(model, optimizer, schedule, criterion=criterion, scope=scope) as pruner:
        history = train(model, optimizer, pruner, range(25))
    for before, after in pairwise(history):
        assert not any(bool((after[name] & ~before[name]).any()) for name in after)
    n = sum(mask.numel() for mask in history[0].values())
    if scope == "global":
        for step, masks in enumerate(history):
            kept = sum(int(mask.sum()) for mask in masks.values())
            assert kept == n - round(schedule(step) * n)
    assert pruner.sparsity == 0.8
    assert pruner.masks.origin is not None
    assert pruner.masks.origin.sparsity == 0.8


def test_2_of_4_comes_by_way_of_3_of_4() -> None:
    model, optimizer = build()
    schedule = schedules.linear(0.0, 0.5, steps=range(0, 11))
    pruner = GradualPruner(model, optimizer, schedule, pattern="2:4")
    seen = []
    for step in range(12):
        train(model, optimizer, pruner, range(step, step + 1))
        seen.append(pruner.masks.origin.pattern)
    # 0.05 a step; 3:4 is nearer than 4:4 from 0.125, 2:4 nearer than 3:4 from 0.375.
    assert seen == ["4:4"] * 3 + ["3:4"] * 5 + ["2:4"] * 4
    verify(model, pruner.masks, pattern="2:4").require()
    assert pruner.masks.sparsity == 0.5


def test_one_shot_gives_what_prune_gives() -> None:
    model, optimizer = build()
    pruner = GradualPruner(model, optimizer, schedules.one_shot(0.7), scope="global")
    twin = copy.deepcopy(model)
    assert pruner.step()
    assert pruner.masks == prune(twin, 0.7, scope="global")
    assert not pruner.step()


@pytest.mark.parametrize("criterion", ["magnitude", "random"])
@pytest.mark.parametrize("pattern", ["unstructured", "1:4"])
@pytest.mark.parametrize("stop", [1, 9, 22])
def test_a_run_that_stops_goes_on_bit_for_bit(criterion: str, pattern: str, stop: int) -> None:
    schedule = schedules.cubic(0.0, 0.75, steps=STEPS)
    words: dict[str, Any] = {"criterion": criterion, "pattern": pattern}

    model, optimizer = build()
    pruner = GradualPruner(model, optimizer, schedule, **words)
    train(model, optimizer, pruner, range(stop))
    file = io.BytesIO()
    torch.save([thing.state_dict() for thing in (model, optimizer, pruner)], file)
    wanted = train(model, optimizer, pruner, range(stop, 25))

    resumed, its_optimizer = build(seed=1)
    its_pruner = GradualPruner(resumed, its_optimizer, schedule, **words)
    file.seek(0)
    things = (resumed, its_optimizer, its_pruner)
    for thing, state in zip(things, torch.load(file, weights_only=True), strict=True):
        thing.load_state_dict(state)
    came = train(resumed, its_optimizer, its_pruner, range(stop, 25))

    for ours, theirs in zip(came, wanted, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for a, b in zip(resumed.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_order_of_loading_does_not_matter() -> None:
    schedule = schedules.cubic(0.0, 0.75, steps=STEPS)
    model, optimizer = build()
    pruner = GradualPruner(model, optimizer, schedule)
    train(model, optimizer, pruner, range(9))
    states = [copy.deepcopy(thing.state_dict()) for thing in (model, optimizer, pruner)]
    wanted = train(model, optimizer, pruner, range(9, 25))
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        resumed, its_optimizer = build(seed=1)
        train(resumed, its_optimizer, its := GradualPruner(resumed, its_optimizer, schedule), STEPS)
        things = (resumed, its_optimizer, its)
        for i in order:
            # A copy: an optimizer goes on training in the tensors it is given.
            things[i].load_state_dict(copy.deepcopy(states[i]))
        came = train(resumed, its_optimizer, its, range(9, 25))
        assert all(torch.equal(came[-1][name], wanted[-1][name]) for name in wanted[-1])
        for a, b in zip(resumed.parameters(), model.parameters(), strict=True):
            assert torch.equal(a, b)


def test_a_second_optimizer_holds_the_same_masks() -> None:
    model, _ = build()
    first = torch.optim.AdamW(model[0].parameters(), 0.02)
    second = torch.optim.SGD(model[2].parameters(), 0.02, momentum=0.9)
    with GradualPruner(model, first, schedules.linear(0.1, 0.8, steps=range(6))) as pruner:
        with pruner.masks.attached(second):
            for step in range(8):
                model(torch.randn(6, 16)).square().mean().backward()
                second.step()
                train(model, first, pruner, range(step, step + 1))
                removed = ~pruner.masks["2.weight"]
            second.step()
        assert pruner.masks.origin.sparsity == 0.8
        buffer = second.state[model[2].weight]["momentum_buffer"]
        assert bool(buffer.any())
        assert not bool(buffer[removed].any())


def test_a_saved_state_is_not_changed_by_going_on() -> None:
    model, optimizer = build()
    pruner = GradualPruner(model, optimizer, schedules.linear(0.2, 0.8, steps=range(5)))
    pruner.step()
    state = pruner.state_dict()
    saved = copy.deepcopy(state)
    pruner.step()
    for name, mask in saved["masks"].items():
        assert torch.equal(state["masks"][name], mask)


def test_a_state_for_another_recipe_is_refused_untouched() -> None:
    model, optimizer = build()
    schedule = schedules.one_shot(0.5)
    pruner = GradualPruner(model, optimizer, schedule)
    pruner.step()
    before = pruner.state_dict()
    other = GradualPruner(*build(), schedule, criterion="random", scope="row")
    with pytest.raises(ValueError, match="criterion='magnitude', the state was made with 'random'"):
        pruner.load_state_dict(other.state_dict())
    model, optimizer = mlp(16, 8), None
    smaller = GradualPruner(model, torch.optim.SGD(model.parameters(), 0.1), schedule)
    with pytest.raises(ValueError, match=r"must be \[24, 16\], not \[8, 16\]"):
        pruner.load_state_dict(smaller.state_dict())
    assert pruner.state_dict()["step"] == before["step"] == 1
    assert all(torch.equal(pruner.masks[n], mask) for n, mask in before["masks"].items())


def test_a_schedule_that_falls_leaves_the_masks() -> None:
    pruner = GradualPruner(*build(), lambda step: [0.5, 0.2, 0.5, 0.6][step])
    assert [pruner.step() for _ in range(4)] == [True, False, False, True]
    assert pruner.masks.origin.sparsity == 0.6


def test_a_nan_stops_the_pruner_and_changes_nothing() -> None:
    model, optimizer = build()
    pruner = GradualPruner(model, optimizer, schedules.linear(0.2, 0.8, steps=range(5)))
    pruner.step()
    masks = {name: mask.clone() for name, mask in pruner.masks.items()}
    with torch.no_grad():
        model[2].weight[masks["2.weight"]] = float("nan")
    first = model[0].weight.detach().clone()
    with pytest.raises(ValueError, match=r"NaN or -inf for '2\.weight'"):
        pruner.step()
    assert torch.equal(model[0].weight, first)
    assert all(torch.equal(pruner.masks[name], mask) for name, mask in masks.items())
    assert pruner.sparsity == 0.2


def test_the_masks_object_stays_the_same() -> None:
    model, optimizer = build()
    pruner = GradualPruner(model, optimizer, schedules.one_shot(0.5))
    masks = pruner.masks
    assert masks.sparsity == 0.0
    pruner.step()
    assert pruner.masks is masks
    assert masks.sparsity == 0.5


def test_detached_it_holds_nothing() -> None:
    model, optimizer = build()
    with GradualPruner(model, optimizer, schedules.one_shot(0.5)) as pruner:
        train(model, optimizer, pruner, range(2))
    assert not optimizer._optimizer_step_post_hooks
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())


def test_its_own_draws_follow_manual_seed_and_then_leave_it_alone() -> None:
    def masks() -> dict[str, Tensor]:
        model, optimizer = build(seed=5)
        pruner = GradualPruner(model, optimizer, schedules.one_shot(0.5), criterion="random")
        before = torch.get_rng_state()
        pruner.step()
        assert torch.equal(torch.get_rng_state(), before)
        return dict(pruner.masks)

    first, second = masks(), masks()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("schedule", "words", "error", "says"),
    [
        (0.9, {}, TypeError, "schedule must be a function of the step, such as .*cubic"),
        (schedules.one_shot(0.9), {"pattern": "2:4"}, ValueError, "a sparsity of its own, 0.5"),
        (schedules.one_shot(0.4), {"pattern": "2:4"}, ValueError, "a sparsity of its own, 0.5"),
        (schedules.one_shot(0.5), {"pattern": "2:4", "scope": "global"}, ValueError, "compete"),
        (schedules.one_shot(0.4), {"pattern": "3:5"}, ValueError, r"divisible by 5.*'0.weight'"),
        (schedules.one_shot(0.4), {"targets": "1"}, ValueError, "matches only ReLU"),
    ],
)
def test_what_contradicts_itself_is_refused_at_once(
    schedule: Any, words: dict[str, Any], error: type[Exception], says: str
) -> None:
    model, optimizer = build()
    with pytest.raises(error, match=says):
        GradualPruner(model, optimizer, schedule, **words)
    assert not optimizer._optimizer_step_post_hooks


def test_a_function_that_leaves_the_range_is_refused_when_it_does() -> None:
    pruner = GradualPruner(*build(), lambda step: 50)
    with pytest.raises(ValueError, match=r"did you mean 0.5\?"):
        pruner.step()
    pruner = GradualPruner(*build(), lambda step: 0.6, pattern="2:4")
    with pytest.raises(ValueError, match=r"a sparsity of its own, 0.5"):
        pruner.step()
