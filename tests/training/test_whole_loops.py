"""All that a real loop does, at once: no two of its parts bring a weight back between them."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from secateur.compat import torch_prune
from secateur.pruning import Masks, prune, schedules
from secateur.pruning._shards import here, whole
from secateur.training import GradualPruner, RigL, Set, attached
from secateur.training.attach import per_weight_state
from tests.training.ranks import WORLD, in_two_processes

Build = Callable[[Any], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Build] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
    "adamw foreach": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1, foreach=True),
    "adamw fused": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1, fused=True),
    "adafactor": lambda p: torch.optim.Adafactor(p, 0.01, weight_decay=0.1),
}
METHODS = ("attached", "gradual", "rigl", "set")
STEPS = 12


class Tied(nn.Module):
    """Tokens in and out by one weight, with a layer between."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.inner = nn.Linear(8, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        hidden: Tensor = torch.tanh(self.inner(self.embedding(tokens)))
        answer: Tensor = self.head(hidden)
        return answer


def hold(method: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    if method == "gradual":
        plan = schedules.cubic(0.1, 0.8, steps=range(1, STEPS, 3))
        return GradualPruner(model, optimizer, plan, scope="global")
    masks = prune(model, 0.6)
    if method == "attached":
        return attached(masks, optimizer)
    if method == "rigl":
        return RigL(masks, optimizer, STEPS, every=3, fraction=0.5)
    draws = torch.Generator().manual_seed(3)
    return Set(masks, optimizer, STEPS, every=3, fraction=0.5, generator=draws)


def assert_held(masks: Masks, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Raise unless what is removed is +0.0 in the weights, and 0 in the optimizer's memory."""
    for name, parameter in masks.parameters(model).items():
        removed = ~masks[name]
        assert not bool(whole(parameter).contiguous().view(torch.int32)[removed].any()), name
        for state in per_weight_state(optimizer, parameter):
            assert not bool(whole(state)[removed].any()), name


def backward(model: nn.Module, step: int, scale: Callable[[Tensor], Tensor]) -> None:
    draws = torch.Generator().manual_seed(step)
    tokens = torch.randint(11, (6, 5), generator=draws)
    wanted = torch.randint(11, (6, 5), generator=draws)
    logits = model(tokens).flatten(0, 1)
    scale(nn.functional.cross_entropy(logits, wanted.flatten())).backward()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_accumulated_clipped_scaled_skipped_averaged_and_tied(kind: str, method: str) -> None:
    """Step 4 overflows: the scaler skips it, fused optimizers by themselves."""
    torch.manual_seed(0)
    model = Tied()
    optimizer = OPTIMIZERS[kind](model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    backward(model, 99, lambda loss: loss)
    optimizer.step()
    skipped = 0
    with hold(method, model, optimizer) as held:
        for step in range(STEPS):
            optimizer.zero_grad()
            for part in range(3):
                backward(model, 3 * step + part, scaler.scale)
            if step == 4:
                model.inner.weight.grad.fill_(torch.inf)
            scaler.unscale_(optimizer)
            clip_grad_norm_(model.parameters(), 0.5)
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            skipped += scaler.get_scale() < before
            if method == "gradual":
                held.step()
            assert_held(held.masks, optimizer, model)
            average.update_parameters(model)
            held.masks.apply_(average.module)
            assert_held(held.masks, optimizer, average.module)
        assert model.head.weight is model.embedding.weight
        assert skipped == 1
        assert held.masks.sparsity > 0.5
        assert all(bool(p.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_compiled_whole_while_masks_change(method: str) -> None:
    """The graph is captured once: masks are no part of it."""
    torch.manual_seed(0)
    model = Tied()
    graphs: list[int] = []

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(1)
        return graph.forward

    compiled = torch.compile(model, fullgraph=True, backend=count)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    with hold(method, model, optimizer) as held:
        seen = []
        for step in range(STEPS):
            optimizer.zero_grad()
            backward(compiled, step, lambda loss: loss)
            optimizer.step()
            if method == "gradual":
                held.step()
            assert_held(held.masks, optimizer, model)
            seen.append(torch.cat([m.flatten() for m in held.masks.values()]).clone())
    assert len(graphs) == 1
    changed = any(not torch.equal(seen[0], later) for later in seen)
    assert changed == (method != "attached")


@pytest.mark.parametrize("method", METHODS)
def test_copied_and_pickled_in_the_middle(method: str) -> None:
    """A copy has the zeros and none of the hooks; the original is held as before."""
    torch.manual_seed(0)
    model = Tied()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    with hold(method, model, optimizer) as held:
        for step in range(4):
            optimizer.zero_grad()
            backward(model, step, lambda loss: loss)
            optimizer.step()
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        for twin in (copy.deepcopy(model), torch.load(file, weights_only=False)):
            assert twin.head.weight is twin.embedding.weight
            assert all(
                torch.equal(a, b)
                for a, b in zip(twin.parameters(), model.parameters(), strict=True)
            )
            free = torch.optim.AdamW(twin.parameters(), 0.01)
            backward(twin, 0, lambda loss: loss)
            free.step()
            again = Masks({k: m.clone() for k, m in held.masks.items()}, twin)
            with again.attached(free):
                backward(twin, 1, lambda loss: loss)
                free.step()
                assert_held(again, free, twin)
        assert_held(held.masks, optimizer, model)


class Wide(nn.Module):
    """Rows that do not divide by the number of processes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 9), nn.Linear(9, 5)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.second(torch.relu(self.first(x)))
        return answer


def spread(model: Wide) -> Wide:
    mesh = init_device_mesh("cpu", (WORLD,))
    for part in (model.first, model.second, model):
        fully_shard(part, mesh=mesh)
    return model


def adaptive_optimizers(rank: int) -> None:
    """AdamW and Adafactor on whole weights and on shards, clipped."""
    for shard in (False, True):
        for kind in OPTIMIZERS:
            if shard and kind == "adafactor":
                continue  # torch's does not run on shards: DTensor refuses its norms in place
            torch.manual_seed(0)
            model = Wide()
            runs = spread(model) if shard else DistributedDataParallel(model)
            optimizer = OPTIMIZERS[kind](model.parameters())
            torch.manual_seed(rank)
            runs(torch.randn(4, 8)).square().sum().backward()
            optimizer.step()
            with attached(prune(model, 0.6), optimizer) as held:
                for _ in range(3):
                    optimizer.zero_grad()
                    runs(torch.randn(4, 8)).square().sum().backward()
                    clip_grad_norm_(model.parameters(), 0.5)
                    before = here(model.first.weight).clone()
                    optimizer.step()
                    assert not torch.equal(here(model.first.weight), before), "nothing was trained"
                    assert_held(held.masks, optimizer, model)


def under_torchs_names(rank: int) -> None:
    """A loop that knows nothing of masks: the forward pass never sees a removed weight."""
    for shard in (False, True):
        torch.manual_seed(0)
        model = Wide()
        torch_prune.l1_unstructured(model.first, "weight", 0.5)
        removed = ~model.first.weight_mask
        runs = spread(model) if shard else DistributedDataParallel(model)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        x = torch.eye(8)
        for _ in range(3):
            optimizer.zero_grad()
            runs(x).square().sum().backward()
            optimizer.step()
        assert bool(whole(model.first.weight)[removed].any()), "nothing came back to be removed"
        kept = [whole(p).clone() for p in model.parameters()]
        kept[0].masked_fill_(removed, 0)
        hidden = torch.relu(nn.functional.linear(x, kept[0], kept[1]))
        assert torch.equal(runs(x), nn.functional.linear(hidden, kept[2], kept[3]))
        torch_prune.masks(model).apply_()
        assert not bool(whole(model.first.weight)[removed].any())


def in_two(rank: int) -> None:
    adaptive_optimizers(rank)
    under_torchs_names(rank)


@pytest.mark.slow
def test_adaptive_optimizers_and_torchs_names_in_two_processes(tmp_path: Path) -> None:
    in_two_processes(in_two, tmp_path)
