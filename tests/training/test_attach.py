"""Zeros survive whatever a training loop does, and nothing else about the model changes."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from secateur.pruning import Masks, prune, verify
from secateur.training import attached
from tests.pruning.models import Zoo, mlp

OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "sgd foreach": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True),
    "sgd fused": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True),
    "adam amsgrad": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    "adamw foreach": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1, foreach=True),
    "adamw fused": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1, fused=True),
    "adafactor": lambda p: torch.optim.Adafactor(p, 0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, centered=True),
    "adadelta": lambda p: torch.optim.Adadelta(p),
    "rprop": lambda p: torch.optim.Rprop(p),
}


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3, seed: int = 0
) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(model(torch.randn(5, 8, generator=generator)), torch.ones(5, 3)).backward()
        optimizer.step()


def assert_zero_where_removed(masks: Masks, optimizer: torch.optim.Optimizer) -> None:
    for name, parameter in masks.parameters().items():
        removed = ~masks[name]
        zero = torch.zeros_like(parameter)[removed]
        for tensor in (parameter, *optimizer.state[parameter].values()):
            if tensor.shape == parameter.shape:
                # Bit for bit: -0.0 is equal to 0.0, and is not it.
                assert torch.equal(
                    tensor.detach()[removed].view(torch.int32), zero.view(torch.int32)
                )


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_zeros_and_their_state_stay_zero(kind: str) -> None:
    """Momentum from before the pruning would revive weights, and so would weight decay's kin."""
    model = mlp(8, 16, 3)
    optimizer = OPTIMIZERS[kind](list(model.parameters()))
    train(model, optimizer)
    masks = prune(model, 0.6)
    kept = model[0].weight.detach().clone()
    with masks.attached(optimizer):
        assert_zero_where_removed(masks, optimizer)
        for seed in range(3):
            train(model, optimizer, seed=seed)
            assert_zero_where_removed(masks, optimizer)
    assert bool((model[0].weight != kept)[masks["0.weight"]].any()), "nothing was trained"
    verify(model, masks).require()


class KeptOnly(nn.Module):
    """A linear layer that has the kept weights alone as its parameter: nothing to mask."""

    def __init__(self, linear: nn.Linear, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask
        self.values = nn.Parameter(linear.weight.detach()[mask].clone())
        self.bias = nn.Parameter(linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.zeros(self.mask.shape).masked_scatter(self.mask, self.values)
        return F.linear(x, weight, self.bias)


def integer_mlp() -> nn.Sequential:
    """Weights and learning rates in powers of two, so that sums have no rounding to differ in."""
    model = mlp(8, 16, 3)
    for parameter in model.parameters():
        parameter.data = torch.randint(-2, 3, parameter.shape).float()
    return model


def test_training_goes_as_if_the_removed_weights_did_not_exist() -> None:
    model = integer_mlp()
    masks = prune(model, 0.6)
    packed = nn.Sequential(
        KeptOnly(model[0], masks["0.weight"]), nn.ReLU(), KeptOnly(model[2], masks["2.weight"])
    )
    ours = torch.optim.SGD(model.parameters(), 2**-6, momentum=0.5)
    theirs = torch.optim.SGD(packed.parameters(), 2**-6, momentum=0.5)
    with masks.attached(ours):
        for _ in range(2):
            x = torch.randint(-2, 3, (4, 8)).float()
            for network, optimizer in ((model, ours), (packed, theirs)):
                optimizer.zero_grad()
                network(x).sum().backward()
                optimizer.step()
    for i in (0, 2):
        assert torch.equal(model[i].weight[masks[f"{i}.weight"]], packed[i].values)
        assert torch.equal(model[i].bias, packed[i].bias)


def test_clipping_measures_the_kept_weights_alone() -> None:
    model = mlp(8, 16, 3)
    masks = prune(model, 0.6)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with masks.attached(optimizer):
        model(torch.randn(5, 8)).square().sum().backward()
        kept = [p.grad[masks[n]] if n in masks else p.grad for n, p in model.named_parameters()]
        wanted = torch.linalg.vector_norm(torch.cat([g.flatten() for g in kept]).double())
        came = clip_grad_norm_(model.parameters(), 1.0)
        # Norm of norms: each of the n squares and sums, and the root, rounds once.
        n = sum(g.numel() for g in kept)
        assert abs(came.item() - wanted.item()) <= (n + 2) * torch.finfo(torch.float32).eps * wanted
        optimizer.step()
    assert_zero_where_removed(masks, optimizer)


def test_gradients_accumulate_over_the_kept_weights() -> None:
    model = integer_mlp()
    masks = prune(model, 0.6)
    optimizer = torch.optim.SGD(model.parameters(), 0.5, momentum=0.9)
    x = torch.randint(-2, 3, (6, 8)).float()
    with masks.attached(optimizer):
        model(x).sum().backward()
        whole = {n: p.grad.clone() for n, p in model.named_parameters()}
        optimizer.zero_grad()
        for part in x.split(2):
            model(part).sum().backward()
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter.grad, whole[name])
            if name in masks:
                assert not bool(parameter.grad[~masks[name]].any())
        optimizer.step()
    assert_zero_where_removed(masks, optimizer)


@pytest.mark.parametrize("kind", ["sgd", "adamw", "adamw fused"])
def test_a_step_that_the_grad_scaler_skips_changes_nothing(kind: str) -> None:
    model = mlp(8, 16, 3)
    masks = prune(model, 0.6)
    optimizer = OPTIMIZERS[kind](list(model.parameters()))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    with masks.attached(optimizer):
        for poison in (1.0, float("inf"), 1.0):
            before = copy.deepcopy(model.state_dict())
            optimizer.zero_grad()
            loss = model(torch.randn(5, 8)).square().sum() * poison
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            changed = any(not torch.equal(before[n], p) for n, p in model.state_dict().items())
            assert changed == (poison == 1.0)
            verify(model, masks).require()


def test_autocast_trains_a_half_precision_forward() -> None:
    model = mlp(8, 16, 3)
    masks = prune(model, 0.6)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    with masks.attached(optimizer):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(torch.randn(5, 8)).square().sum()
        loss.backward()
        optimizer.step()
    assert_zero_where_removed(masks, optimizer)


def test_a_closure_and_a_learning_rate_schedule_go_on_as_before() -> None:
    model = mlp(8, 16, 3)
    masks = prune(model, 0.6)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    x = torch.randn(5, 8)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        return loss

    with masks.attached(optimizer):
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        first = optimizer.step(closure)
        scheduler.step()
        assert optimizer.step(closure) < first
    verify(model, masks).require()


def test_attaching_leaves_names_leaves_and_parameters() -> None:
    model = mlp(8, 16, 3)
    masks = prune(model, 0.6)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    parameters, keys = dict(model.named_parameters()), list(model.state_dict())
    with masks.attached(optimizer):
        train(model, optimizer)
        assert dict(model.named_parameters()) == parameters
        assert list(model.state_dict()) == keys
        assert all(p.is_leaf for p in model.parameters())
        assert not list(model.buffers())


def test_a_model_is_copied_and_saved_while_attached() -> None:
    """Reparametrised weights are no leaves; deepcopy of them fails, and hooks must not follow."""
    model = mlp(8, 16, 3)
    masks = prune(model, 0.6)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    with masks.attached(optimizer):
        train(model, optimizer)
        twin = copy.deepcopy(model)
        verify(twin, masks).require()
        file = io.BytesIO()
        torch.save((model, optimizer.state_dict()), file)
        file.seek(0)
        loaded, _ = torch.load(file, weights_only=False)
        free = torch.optim.AdamW(twin.parameters(), 0.01)
        train(twin, free)
    assert bool((twin[0].weight != 0).all()), "the copy is held by the original's masks"
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True)
    )
    again = Masks(dict(masks), twin)
    with again.attached(free):
        train(twin, free)
        assert_zero_where_removed(again, free)


def test_an_optimizer_that_loads_its_state_is_still_held() -> None:
    model = mlp(8, 16, 3)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    train(model, optimizer)
    dense = copy.deepcopy(optimizer.state_dict())
    masks = prune(model, 0.6)
    with masks.attached(optimizer):
        optimizer.load_state_dict(dense)
        train(model, optimizer, steps=1)
        assert_zero_where_removed(masks, optimizer)


def test_a_shared_weight_stays_zero_under_both_names() -> None:
    model = Zoo()
    masks = prune(model, 0.5, targets="head")
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    with masks.attached(optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            model.head(model.embedding(torch.arange(12))).square().sum().backward()
            optimizer.step()
    assert model.head.weight is model.embedding.weight
    assert torch.equal(model.embedding.weight != 0, masks["head.weight"])


def test_two_optimizers_share_a_model() -> None:
    model = mlp(8, 16, 3)
    masks = prune(model, 0.6)
    first = torch.optim.SGD(model[0].parameters(), 0.1, momentum=0.9)
    second = torch.optim.AdamW(model[2].parameters(), 0.01)
    with masks.attached(first), masks.attached(second):
        for _ in range(3):
            model(torch.randn(5, 8)).square().sum().backward()
            first.step()
            second.step()
    verify(model, masks).require()


def test_frozen_weights_need_no_holding() -> None:
    model = mlp(8, 16, 3)
    model[0].requires_grad_(False)
    masks = prune(model, 0.6)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    with masks.attached(optimizer):
        train(model, optimizer)
    verify(model, masks).require()


def test_it_holds_from_the_call_and_lets_go_at_the_end() -> None:
    model = mlp(8, 16, 3)
    masks = prune(model, 0.6)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    attachment = attached(masks, optimizer)
    train(model, optimizer)
    verify(model, masks).require()
    attachment.detach()
    attachment.detach()
    verify(model, masks).require()
    train(model, optimizer)
    assert not verify(model, masks).ok, "still held after detach"
    assert not optimizer._optimizer_step_post_hooks
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())


def test_it_lets_go_when_the_loop_fails() -> None:
    model = mlp(8, 16, 3)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    with pytest.raises(KeyboardInterrupt), prune(model, 0.6).attached(optimizer):
        raise KeyboardInterrupt
    assert not optimizer._optimizer_step_post_hooks


def test_a_compiled_model_trains_with_its_zeros() -> None:
    model = mlp(8, 16, 3)
    masks = prune(model, 0.6)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with masks.attached(optimizer):
        train(compiled, optimizer)
        assert_zero_where_removed(masks, optimizer)


@pytest.mark.parametrize(
    ("optimizer", "error", "says"),
    [
        (torch.optim.SGD(mlp(8, 4).parameters(), 0.1), ValueError, "holds none of the masked"),
        ("adam", TypeError, "must be a torch.optim.Optimizer, not str"),
    ],
)
def test_an_optimizer_of_something_else_is_refused(
    optimizer: object, error: type[Exception], says: str
) -> None:
    model = mlp(8, 4)
    with pytest.raises(error, match=says):
        prune(model, 0.5).attached(optimizer)
