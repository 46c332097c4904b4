"""Two processes make the masks of one, with whole weights (DDP) and with sharded ones (FSDP2).

All data are small integers, and rates powers of two: no sum has a rounding to differ in, so masks
and weights of two processes are equal to those of one, bit for bit.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from secateur.pruning import Masks, prune, schedules, verify
from secateur.pruning._shards import whole
from secateur.training import GradualPruner, RigL, Set, attached, broadcast_
from secateur.training.attach import per_weight_state
from tests.training.ranks import WORLD, in_two_processes, same_everywhere

STEPS = 6
KINDS = ("attached", "gradual", "random", "taylor", "movement", "wanda", "rigl", "set")


class Net(nn.Module):
    """Two layers beside each other, so that gradients are integers at every step."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        # 9 and 5 rows: no two processes get the same number.
        self.left, self.right = nn.Linear(16, 9, bias=False), nn.Linear(16, 5, bias=False)
        for p in self.parameters():
            p.data = torch.randint(-8, 9, p.shape, generator=generator).float()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(x)], 1)


def batch(step: int, rank: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(WORLD * step + rank)
    x = torch.randint(-3, 4, (4, 16), generator=generator).float()
    return x, torch.randint(-3, 4, (4, 14), generator=generator).float()


def loss(model: nn.Module, step: int, ranks: range) -> Tensor:
    """Return what the ranks' losses are on average, linear in the weights."""
    sums = [(model(x) * wanted).sum() for x, wanted in (batch(step, rank) for rank in ranks)]
    return torch.stack(sums).sum() / len(ranks)


def hold(kind: str, model: nn.Module, optimizer: Any, masks: Masks | None) -> Any:
    """Return what keeps or makes masks, and does nothing at `step()` if it needs none."""
    draws = torch.Generator().manual_seed(7)
    if kind in ("gradual", "random", "taylor", "movement", "wanda"):
        plan = schedules.linear(0.2, 0.7, steps=range(1, STEPS))
        words: dict[str, Any] = {"criterion": "magnitude" if kind == "gradual" else kind}
        if kind == "wanda":
            words["calibration"] = [batch(100, 0)[0]]
        return GradualPruner(model, optimizer, plan, scope="global", generator=draws, **words)
    masks = prune(model, 0.6) if masks is None else masks
    if kind == "attached":
        return attached(masks, optimizer)
    if kind == "rigl":
        return RigL(masks, optimizer, 20, every=2, fraction=0.5)
    return Set(masks, optimizer, 20, every=2, fraction=0.5, generator=draws)


def run(kind: str, model: nn.Module, runs: nn.Module, ranks: range, **given: Any) -> Masks:
    """Train `model` by calling `runs`, a wrapper of it or itself, and return its masks."""
    optimizer = torch.optim.SGD(model.parameters(), 2.0**-4, momentum=0.5)
    parts = given.get("parts", 1)
    with hold(kind, model, optimizer, given.get("masks")) as held:
        for step in range(STEPS):
            optimizer.zero_grad()
            for part in range(parts):
                quiet = part + 1 < parts and isinstance(runs, DistributedDataParallel)
                with runs.no_sync() if quiet else nullcontext():
                    loss(runs, step * parts + part, ranks).backward()
            optimizer.step()
            if isinstance(held, GradualPruner):
                held.step()
            verify(model, held.masks).require()
    for name, parameter in held.masks.parameters().items():
        for state in per_weight_state(optimizer, parameter):
            assert not bool(whole(state)[~held.masks[name]].any())
            assert bool(whole(state).any())
    return held.masks


def assert_the_masks_of_one(kind: str, masks: Masks, model: nn.Module, parts: int = 1) -> None:
    alone = Net()
    wanted = run(kind, alone, alone, range(WORLD), parts=parts)
    assert Masks.from_model(model) == Masks.from_model(alone), kind
    for name, parameter in model.named_parameters():
        same_everywhere(masks[name])
        assert torch.equal(masks[name], wanted[name]), (kind, name)
        assert torch.equal(whole(parameter), alone.get_parameter(name)), (kind, name)


def with_ddp(rank: int) -> None:
    for kind in KINDS:
        model = Net()
        masks = run(kind, model, DistributedDataParallel(model), range(rank, rank + 1))
        assert_the_masks_of_one(kind, masks, model)
    model = Net()
    wrapped = DistributedDataParallel(model, gradient_as_bucket_view=True)
    masks = run("rigl", model, wrapped, range(rank, rank + 1), parts=3)
    assert_the_masks_of_one("rigl", masks, model, parts=3)
    masks_made_apart(rank)


def masks_made_apart(rank: int) -> None:
    model = Net()
    generator = torch.Generator().manual_seed(rank)
    masks = prune(model, 0.6, criterion="random", generator=generator)
    first = {name: mask.clone() for name, mask in masks.items()}
    broadcast_(masks, source=1)
    for name, mask in masks.items():
        same_everywhere(mask)
        assert torch.equal(mask, first[name]) == (rank == 1)
        assert not bool(model.get_parameter(name).detach()[~mask].any())


def sharded() -> Net:
    model, mesh = Net(), init_device_mesh("cpu", (WORLD,))
    for part in (model.left, model.right, model):
        fully_shard(part, mesh=mesh)
    assert all(isinstance(p, DTensor) for p in model.parameters())
    return model


def with_fsdp(rank: int) -> None:
    for kind in KINDS:
        model = sharded()
        masks = run(kind, model, model, range(rank, rank + 1))
        assert_the_masks_of_one(kind, masks, model)
    masks_made_before_sharding(rank)
    masks_changed_in_place(rank)
    after_a_look_at_the_model(rank)


def masks_made_before_sharding(rank: int) -> None:
    model, mesh = Net(), init_device_mesh("cpu", (WORLD,))
    masks = prune(model, 0.6)
    for part in (model.left, model.right, model):
        fully_shard(part, mesh=mesh)
    run("attached", model, model, range(rank, rank + 1), masks=masks)
    assert_the_masks_of_one("attached", masks, model)


def masks_changed_in_place(rank: int) -> None:
    """A part of a mask is cut once; not when the mask is another by now."""
    model = sharded()
    masks = prune(model, 0.6)
    copied = copy.deepcopy(masks)
    for change in ("another", "in place", "back"):
        if change == "another":
            masks.replace_({n: m.roll(1, 0) for n, m in masks.items()}, None)
        elif change == "in place":
            for mask in masks.values():
                mask.logical_not_()
        else:
            masks.load_state_dict(copied.state_dict())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(1.0)
        masks.apply_()
        assert all(torch.equal(whole(model.get_parameter(n)) != 0, m) for n, m in masks.items())


def after_a_look_at_the_model(rank: int) -> None:
    """A forward pass alone leaves whole weights in the root: copies, which no mask may mean."""
    model = Net()
    fully_shard(model, mesh=init_device_mesh("cpu", (WORLD,)))
    optimizer = torch.optim.SGD(model.parameters(), 2.0**-4)
    with GradualPruner(model, optimizer, schedules.one_shot(0.5, step=0)) as pruner:
        with torch.no_grad():
            before = model(batch(0, rank)[0])
        assert not isinstance(model.left.weight, DTensor), "torch reshards: settle can go"
        pruner.step()
        assert not torch.equal(model(batch(0, rank)[0]), before)
        with torch.no_grad():
            model(batch(0, rank)[0])
        pruner.masks.apply_()
        verify(model, pruner.masks).require()
        assert isinstance(model.left.weight, DTensor)


@pytest.mark.slow
@pytest.mark.parametrize("work", [with_ddp, with_fsdp])
def test_two_processes_make_the_masks_of_one(work: Any, tmp_path: Path) -> None:
    in_two_processes(work, tmp_path)


def test_an_absolute_value_before_the_reduction_would_be_seen() -> None:
    """The data of the tests above can tell the mean of |g| from |mean of g|."""
    grads = []
    for rank in range(WORLD):
        model = Net()
        loss(model, 2, range(rank, rank + 1)).backward()
        grads.append(model.left.weight.grad)
    before, after = sum(g.abs() for g in grads), sum(grads).abs()
    assert not torch.equal(before.flatten().argsort(), after.flatten().argsort())


def test_without_processes_there_is_nothing_to_share() -> None:
    with pytest.raises(ValueError, match="there is no process group"):
        broadcast_(prune(Net(), 0.5))
