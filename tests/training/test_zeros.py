"""Zeros hold bit for bit: every optimizer, both float types, whatever stood under the mask."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from secateur.pruning import Masks, prune, schedules, verify
from secateur.training import GradualPruner, attached
from secateur.training.attach import per_weight_state
from tests.pruning.models import mlp

BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}
Build = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Build] = {
    "adam": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1),
    "adam foreach": lambda p: torch.optim.Adam(p, 0.01, foreach=True),
    "adam fused": lambda p: torch.optim.Adam(p, 0.01, fused=True, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    "nesterov foreach": lambda p: torch.optim.SGD(
        p, 0.1, momentum=0.9, nesterov=True, foreach=True
    ),
    "nesterov fused": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, fused=True),
    "adafactor": lambda p: torch.optim.Adafactor(p, 0.01, weight_decay=0.1),
    "adafactor foreach": lambda p: torch.optim.Adafactor(p, 0.01, foreach=True),
    "rmsprop foreach": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, foreach=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.01, initial_accumulator_value=0.1),
    "nadam": lambda p: torch.optim.NAdam(p, 0.01),
    "radam": lambda p: torch.optim.RAdam(p, 0.01),
    "adamax": lambda p: torch.optim.Adamax(p, 0.01),
    "asgd": lambda p: torch.optim.ASGD(p, 0.01),
    # It mixes all entries of a momentum matrix: every removed weight is written to.
    "muon": lambda p: torch.optim.Muon([q for q in p if q.ndim == 2], 0.01),
}


def is_zero_in_every_bit(tensor: Tensor, removed: Tensor) -> bool:
    return not bool(tensor.detach().view(BITS[tensor.dtype])[removed].any())


def assert_held(masks: Masks, *optimizers: torch.optim.Optimizer) -> None:
    for name, parameter in masks.parameters().items():
        states = [s for o in optimizers for s in per_weight_state(o, parameter)]
        for tensor in (parameter, *states):
            assert is_zero_in_every_bit(tensor, ~masks[name])


def backward(model: nn.Module, seed: int) -> None:
    weight = next(model.parameters())
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, weight.shape[1], generator=generator).to(weight.dtype)
    model(x).square().mean().backward()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    for seed in range(steps):
        optimizer.zero_grad()
        backward(model, seed)
        optimizer.step()


# Not all: steps as small as these are lost in the rounding of some.
BFLOAT16 = ("adam fused", "adamw", "nesterov foreach", "adafactor", "rmsprop foreach", "muon")


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(kind, torch.float32) for kind in OPTIMIZERS] + [(kind, torch.bfloat16) for kind in BFLOAT16],
)
def test_every_optimizer(kind: str, dtype: torch.dtype) -> None:
    """Its memory from before the pruning would bring weights back."""
    model = mlp(8, 16, 3).to(dtype)
    optimizer = OPTIMIZERS[kind](list(model.parameters()))
    train(model, optimizer)
    masks = prune(model, 0.6)
    before = model[0].weight.detach().clone()
    with attached(masks, optimizer):
        assert_held(masks, optimizer)
        for _ in range(3):
            train(model, optimizer, steps=1)
            assert_held(masks, optimizer)
    assert bool((model[0].weight != before)[masks["0.weight"]].any()), "nothing was trained"


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("value", [-0.0, float("inf"), float("-inf"), float("nan"), 1e-40])
def test_whatever_stood_there(value: float, dtype: torch.dtype) -> None:
    """0 * inf is NaN, 0 * -1 is -0.0: a product of floats would not do."""
    model = mlp(8, 16, 3).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    masks = prune(model, 0.6)
    with attached(masks, optimizer):
        train(model, optimizer)
        optimizer.zero_grad()
        backward(model, 0)
        for name, parameter in masks.parameters().items():
            for tensor in (parameter, *per_weight_state(optimizer, parameter)):
                tensor.detach()[~masks[name]] = value
        optimizer.step()
        assert_held(masks, optimizer)
        assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_groups_of_their_own_and_several_optimizers() -> None:
    model = mlp(8, 16, 16, 3)
    masks = prune(model, 0.6)
    groups = [
        {"params": model[0].parameters(), "weight_decay": 0.1},
        {"params": [model[2].bias], "weight_decay": 0.0},
        {"params": [model[2].weight], "lr": 0.1},
    ]
    first = torch.optim.AdamW(groups, 0.01)
    second = torch.optim.Adafactor(model[4].parameters(), 0.01)
    with attached(masks, first), attached(masks, second):
        for seed in range(3):
            backward(model, seed)
            first.step()
            second.step()
            assert_held(masks, first, second)


def test_the_history_of_lbfgs_does_not_bring_weights_back() -> None:
    """Its memory is one flat vector for all weights, so no state is per weight."""
    model = mlp(8, 16, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), 0.1, max_iter=3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model(torch.ones(5, 8)).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    masks = prune(model, 0.6)
    with attached(masks, optimizer):
        for _ in range(3):
            optimizer.step(closure)
            assert_held(masks)


def test_an_average_follows_the_masks_that_are_applied_to_it() -> None:
    """An average remembers weights from before they were removed; `apply_` makes it forget."""
    model = mlp(8, 16, 3)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    plan = schedules.linear(0.1, 0.8, steps=range(5))
    with GradualPruner(model, optimizer, plan) as pruner:
        for seed in range(6):
            optimizer.zero_grad()
            backward(model, seed)
            optimizer.step()
            pruner.step()
            average.update_parameters(model)
    assert not verify(average.module, pruner.masks).ok, "nothing to forget: the test says nothing"
    kept = {
        n: p[pruner.masks[n]].clone() for n, p in pruner.masks.parameters(average.module).items()
    }
    pruner.masks.apply_(average.module)
    for name, parameter in pruner.masks.parameters(average.module).items():
        assert is_zero_in_every_bit(parameter, ~pruner.masks[name])
        assert torch.equal(parameter[pruner.masks[name]], kept[name])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inductor imports it
def test_a_model_compiled_whole() -> None:
    model = mlp(8, 16, 3)
    masks = prune(model, 0.6)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    compiled = torch.compile(model, fullgraph=True)
    with attached(masks, optimizer):
        for seed in range(3):
            optimizer.zero_grad()
            x = torch.randn(5, 8, generator=torch.Generator().manual_seed(seed))
            compiled(x).square().sum().backward()
            optimizer.step()
            assert_held(masks, optimizer)
