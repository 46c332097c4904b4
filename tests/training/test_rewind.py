"""Going back: everything but what the masks remove, or the schedule alone."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur.pruning import prune, verify
from secateur.training import Snapshot, attached
from secateur.training.attach import per_weight_state

Course = tuple[nn.Sequential, torch.optim.Optimizer, Any]


class Counter(nn.Module):
    """Has a buffer that no state_dict carries."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x


def build() -> Course:
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), Counter(), nn.Flatten(), nn.Linear(16, 3)
    )
    optimizer = torch.optim.AdamW(model.parameters(), 0.05, weight_decay=0.1)
    return model, optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)


def train(course: Course, steps: range) -> list[float]:
    """Return the learning rate of each step."""
    model, optimizer, scheduler = course
    rates = []
    for step in steps:
        optimizer.zero_grad()
        x = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(step))
        model(x).square().mean().backward()
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def everything(course: Course) -> dict[str, Any]:
    model, optimizer, scheduler = course
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return copy.deepcopy(
        {"tensors": tensors, "optimizer": optimizer.state_dict(), "rest": scheduler.state_dict()}
    )


def assert_same(came: Any, wanted: Any) -> None:
    """Raise unless two nests of dicts and lists hold the same numbers, bit for bit."""
    if isinstance(wanted, dict):
        assert came.keys() == wanted.keys()
        for key in wanted:
            assert_same(came[key], wanted[key])
    elif isinstance(wanted, Tensor):
        assert torch.equal(came, wanted)
    else:
        assert came == wanted


@pytest.mark.parametrize("k", [0, 3])
def test_a_ticket_trains_as_if_it_had_been_pruned_at_step_k(k: int) -> None:
    course = build()
    model, optimizer, _ = course
    train(course, range(k))
    ticket = Snapshot(*course)
    twin = build()
    train(twin, range(k))
    train(course, range(k, 8))
    parameters = dict(model.named_parameters())
    masks = prune(model, 0.6)
    ticket.rewind(masks)
    assert dict(model.named_parameters()) == parameters
    assert all(p.grad is None for p in model.parameters())

    again = copy.deepcopy(masks)
    again.apply_(twin[0])
    for name, parameter in again.parameters(twin[0]).items():
        again.zero_(name, parameter, *per_weight_state(twin[1], parameter))
    assert_same(everything(course), everything(twin))
    held = type(masks)(dict(again), twin[0])
    with attached(masks, optimizer), attached(held, twin[1]):
        assert train(course, range(k, 8)) == train(twin, range(k, 8))
    assert_same(everything(course), everything(twin))
    verify(model, masks).require()


def test_it_goes_back_as_often_as_asked_and_inside_an_attachment() -> None:
    course = build()
    model, optimizer, _ = course
    ticket, start = Snapshot(*course), everything(course)
    for sparsity in (0.2, 0.36, 0.488):
        train(course, range(4))
        masks = prune(model, sparsity)
        with attached(masks, optimizer):
            ticket.rewind(masks)
            verify(model, masks).require()
            train(course, range(4))
            verify(model, masks).require()
    ticket.rewind(None)
    assert_same(everything(course), start)


def test_the_schedule_alone_goes_back() -> None:
    course = build()
    optimizer = course[1]
    train(course, range(2))
    ticket = Snapshot(*course)
    wanted = train(course, range(2, 8))
    before = everything(course)
    ticket.rewind_schedule()
    now = everything(course)
    assert_same(now["tensors"], before["tensors"])
    assert_same(now["optimizer"]["state"], before["optimizer"]["state"])
    assert optimizer.param_groups[0]["lr"] == wanted[0] < 0.05
    assert train(course, range(2, 8)) == wanted


def test_an_optimizer_and_a_schedule_may_be_left_out() -> None:
    course = build()
    ticket, start = Snapshot(course[0]), everything(course)
    train(course, range(3))
    trained = everything(course)
    ticket.rewind(None)
    now = everything(course)
    assert_same(now["tensors"], start["tensors"])
    assert_same(now["optimizer"], trained["optimizer"])
    with pytest.raises(ValueError, match="this snapshot has no optimizer"):
        ticket.rewind_schedule()


def test_a_snapshot_goes_through_a_file_that_runs_no_code() -> None:
    course = build()
    train(course, range(2))
    wanted = everything(course)
    file = io.BytesIO()
    torch.save(Snapshot(*course).state_dict(), file)
    file.seek(0)
    other = build()
    ticket = Snapshot(*other)
    ticket.load_state_dict(torch.load(file, weights_only=True))
    train(other, range(5))
    ticket.rewind(None)
    assert_same(everything(other), wanted)


def test_a_model_that_has_changed_is_refused_untouched() -> None:
    course = build()
    model, optimizer, _ = course
    ticket = Snapshot(*course)
    train(course, range(2))
    before = everything(course)
    layer = model[4]
    model[4] = nn.Linear(16, 2)
    with pytest.raises(ValueError, match=r"'4.weight' was \[3, 16\] at the snapshot, and is \[2,"):
        ticket.rewind(None)
    model[4] = nn.Linear(16, 3, bias=False)
    with pytest.raises(ValueError, match=r"changed since the snapshot: 4\.bias then or now only"):
        ticket.rewind(None)
    model[4] = layer
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
    with pytest.raises(ValueError, match=r"groups of \[6\] parameters .* has \[6, 1\] now"):
        ticket.rewind(None)
    optimizer.param_groups.pop()
    assert_same(everything(course), before)


def test_another_kind_of_snapshot_is_refused() -> None:
    course = build()
    whole, weights = Snapshot(*course), Snapshot(course[0])
    with pytest.raises(ValueError, match="optimizer is in one and not in the other"):
        whole.load_state_dict(weights.state_dict())


@pytest.mark.parametrize(
    ("others", "says"),
    [
        (("adam",), "optimizer must be a torch.optim.Optimizer or None, not str"),
        ((None, 0.1), "scheduler must have state_dict and load_state_dict; float has not"),
    ],
)
def test_what_is_no_optimizer_is_refused(others: tuple[Any, ...], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        Snapshot(nn.Linear(2, 2), *others)
