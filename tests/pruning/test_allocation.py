"""How much each layer gives up: against the papers' rules, worked out another way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from secateur.pruning import Masks, prune, schedules, verify
from secateur.pruning.allocation import ALLOCATIONS
from secateur.pruning.allocation._base import meet
from secateur.pruning.allocation.lamp import lamp_scores
from secateur.pruning.allocation.owl import block_of
from secateur.training import GradualPruner
from tests.pruning.models import Zoo, mlp

UNEVEN = [name for name in ALLOCATIONS.names() if not ALLOCATIONS.get(name)().even]


def densities(masks: Masks) -> dict[str, float]:
    return {name: int(mask.sum()) / mask.numel() for name, mask in masks.items()}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(16, 32)
        self.down = nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.down(self.up(x).relu())
        return hidden


class Tower(nn.Module):
    """Blocks in a list, and a head beside it."""

    def __init__(self, blocks: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block() for _ in range(blocks))
        self.head = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        logits: Tensor = self.head(x)
        return logits


@pytest.mark.parametrize("allocation", ALLOCATIONS.names())
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.77, 0.9, 0.99])
def test_the_sum_is_exact(allocation: str, sparsity: float) -> None:
    model = Tower()
    data = {"calibration": [torch.randn(8, 16)]} if allocation == "owl" else {}
    masks = prune(model, sparsity, allocation=allocation, **data)
    kept = sum(m.numel() - round(sparsity * m.numel()) for m in masks.values())
    if allocation != "uniform":
        kept = masks.total - round(sparsity * masks.total)
    assert masks.kept == kept
    verify(model, masks).require()


def rigl_densities(sizes: Mapping[str, tuple[int, ...]], sparsity: float) -> dict[str, float]:
    """Solve for epsilon as the authors do: who would be denser than 1 is dense, and again."""
    dense: set[str] = set()
    while True:
        kept = weighted = 0.0
        raw = {}
        for name, size in sizes.items():
            n = math.prod(size)
            if name in dense:
                kept -= n * sparsity
                continue
            kept += n * (1 - sparsity)
            raw[name] = sum(size) / n
            weighted += raw[name] * n
        epsilon = kept / weighted
        most = max(raw.values())
        if most * epsilon <= 1:
            return {name: 1.0 if name in dense else epsilon * raw[name] for name in sizes}
        dense |= {name for name, value in raw.items() if value == most}


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.8, 0.9, 0.95])
def test_erk_is_the_authors_solution(sparsity: float) -> None:
    layers: list[nn.Module] = [nn.Conv2d(k, n, 3) for k, n in pairwise((3, 16, 32, 64))]
    model = nn.Sequential(*layers, nn.Conv2d(64, 128, 1), nn.Linear(128, 10))
    masks = prune(model, sparsity, allocation="erk")
    sizes = {name: tuple(mask.shape) for name, mask in masks.items()}
    wanted = rigl_densities(sizes, sparsity)
    got = densities(masks)
    assert [name for name, density in wanted.items() if density == 1.0] == [
        name for name, density in got.items() if density == 1.0
    ]
    for name, size in sizes.items():
        # Each layer rounds once, and the rounding of all the others shifts it by less than one.
        assert abs(got[name] - wanted[name]) * math.prod(size) <= 2


def test_lamp_is_the_formula() -> None:
    """Lee et al., equation 4, in a loop; and the layers' masks are those of its global top k."""
    model = mlp(8, 12, 6)
    weights = [model[i].weight.detach().double().flatten() for i in (0, 2)]
    scored = []
    for layer, weight in enumerate(weights):
        for i, w in enumerate(weight.tolist()):
            above = math.fsum(v * v for v in weight.tolist() if abs(v) >= abs(w))
            scored.append((w * w / above, layer, i))
    masks = prune(model, 0.75, allocation="lamp")
    chosen = sorted(scored, reverse=True)[: masks.kept]
    for layer, name in enumerate(masks):
        wanted = sorted(i for _, at, i in chosen if at == layer)
        assert masks[name].flatten().nonzero().flatten().tolist() == wanted


def test_lamp_leaves_each_layer_a_weight_and_survives_zeros() -> None:
    model = mlp(8, 8, 8, 8)
    model[2].weight.data *= 1e-20
    model[4].weight.data.zero_()
    masks = prune(model, 1 - 5 / 192, allocation="lamp")
    assert masks.kept == 5
    assert all(bool(mask.any()) for mask in masks.values())
    scores = lamp_scores(torch.tensor([[0.0, math.inf, 0.0, -math.inf]]))
    assert scores.tolist() == [[1.0, 0.0, 0.0, -1.0]]
    assert lamp_scores(torch.zeros(2, 2)).tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_lamp_breaks_ties_by_the_lowest_index_and_sums_in_float64() -> None:
    assert lamp_scores(torch.ones(1, 4)).tolist() == [[1.0, 1 / 2, 1 / 3, 1 / 4]]
    tiny = torch.full((1, 1 << 14), 2.0**-13)
    tiny[0, 0] = 1.0
    # In float32, 1 + 2^-26 is 1, and all of these would be equal.
    assert len(lamp_scores(tiny).unique()) == 1 << 14


def test_owl_is_the_authors_rule() -> None:
    """Layers of one block alike; densities spread by 2 lambda, in the order of the outliers."""
    model = Tower()
    with torch.no_grad():
        for i, layer in enumerate(model.layers):
            layer.up.weight[:i, :i] *= 50
    x = [torch.randn(32, 16) for _ in range(2)]
    masks = prune(model, 0.7, criterion="wanda", scope="layer", allocation="owl", calibration=x)
    got = densities(masks)
    blocks = {name: block_of(name) for name in masks}
    assert sorted(set(blocks.values())) == ["head.weight", *(f"layers.{i}" for i in range(4))]
    by_block: dict[str, list[float]] = {}
    for name, block in blocks.items():
        by_block.setdefault(block, []).append(got[name])
    # Of 512 weights one is 1/512; two layers round on their own.
    assert all(max(d) - min(d) <= 1 / 512 for d in by_block.values())
    order = [by_block[f"layers.{i}"][0] for i in range(4)]
    assert order == sorted(order)
    everything = [d for found in by_block.values() for d in found]
    assert abs(max(everything) - min(everything) - 2 * 0.08) <= 1 / 128
    assert masks.kept == masks.total - round(0.7 * masks.total)


def test_owl_without_outliers_is_uniform() -> None:
    model = mlp(8, 8, 8)
    for i in (0, 2):
        model[i].weight.data.fill_(1.0)
    masks = prune(model[:1], 0.5, allocation="owl", calibration=[torch.ones(2, 8)])
    assert masks.sparsity == 0.5


def test_the_users_own_by_selector() -> None:
    model = Tower(2)
    wanted = {"head": 0.25, "*.up": 0.5, "layers.1.up": 0.75, nn.Linear: 0.875}
    assert densities(prune(model, allocation=wanted)) == {
        "layers.0.up.weight": 0.5,
        "layers.0.down.weight": 0.125,
        "layers.1.up.weight": 0.25,
        "layers.1.down.weight": 0.125,
        "head.weight": 0.75,
    }


def test_the_users_own_by_function_and_the_rest() -> None:
    model = Tower(2)
    masks = prune(model, 0.5, allocation=lambda name: 0.0 if name == "head.weight" else None)
    verify(model, masks).require()
    assert {n: 1 - d for n, d in densities(masks).items()} == {
        name: 0.0 if name == "head.weight" else 0.5 for name in masks
    }


@pytest.mark.parametrize("scope", ["layer", "row"])
def test_each_layer_is_checked_against_its_own_share(scope: str) -> None:
    model = Tower(1)
    masks = prune(model, 0.5, allocation={"head": 0.25}, scope=scope)
    verify(model, masks).require()
    mask = masks["head.weight"].clone()
    mask[tuple(mask.nonzero()[0].tolist())] = False
    fewer = Masks({**masks, "head.weight": mask}, model, masks.origin)
    fewer.apply_()
    with pytest.raises(ValueError, match=r"head.weight: .*keeps"):
        verify(model, fewer).require()


@pytest.mark.parametrize("pattern", ["block:2x4", "channels", "columns"])
@pytest.mark.parametrize("allocation", ["erk", "lamp"])
def test_units_are_what_is_handed_out(allocation: str, pattern: str) -> None:
    model = mlp(16, 48, 8)
    masks = prune(model, 0.6, allocation=allocation, pattern=pattern)
    verify(model, masks, pattern=pattern).require()
    shares = masks.origin.shares
    units = {"block:2x4": (96, 48), "channels": (48, 8), "columns": (16, 48)}[pattern]
    removed = [share * n for share, n in zip(shares.values(), units, strict=True)]
    # Shares of n units are exact to a rounding of a number below 1, n times over.
    assert sum(removed) == pytest.approx(round(0.6 * sum(units)), abs=sum(units) * 2.3e-16)


@pytest.mark.parametrize("allocation", UNEVEN)
def test_gradually_nothing_comes_back(allocation: str) -> None:
    model = Tower(2)
    optimizer = torch.optim.AdamW(model.parameters(), 0.05)
    data = {"calibration": [torch.randn(8, 16)]} if allocation == "owl" else {}
    schedule = schedules.linear(0.0, 0.9, steps=range(12))
    pruner = GradualPruner(model, optimizer, schedule, allocation=allocation, **data)
    before = {name: mask.clone() for name, mask in pruner.masks.items()}
    for step in range(12):
        optimizer.zero_grad()
        model(torch.randn(8, 16)).square().mean().backward()
        optimizer.step()
        pruner.step()
        masks = pruner.masks
        assert masks.kept == masks.total - round(schedule(step) * masks.total)
        assert not any(bool((masks[name] & ~before[name]).any()) for name in masks)
        verify(model, masks).require()
        before = {name: mask.clone() for name, mask in masks.items()}
    state = pruner.state_dict()
    other = GradualPruner(model, optimizer, schedule, allocation="uniform")
    with pytest.raises(ValueError, match=f"allocation='uniform', .* made with '{allocation}'"):
        other.load_state_dict(state)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=5), st.lists(st.floats(0.01, 9), min_size=6)
)
def test_a_larger_total_takes_from_nobody(sizes: list[int], weights: list[float]) -> None:
    """Largest remainders would (the Alabama paradox), and a weight would come back."""

    def counts(x: float) -> list[int]:
        return [min(n, math.floor(x * w + 0.5)) for n, w in zip(sizes, weights, strict=False)]

    given = [meet(counts, total, 0.0, 1e5) for total in range(sum(sizes) + 1)]
    assert [sum(found) for found in given] == list(range(sum(sizes) + 1))
    for fewer, more in pairwise(given):
        assert all(a <= b for a, b in zip(fewer, more, strict=True))


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (
            {"sparsity": 0.5, "allocation": "erc"},
            ValueError,
            "unknown allocation 'erc'; known: erk",
        ),
        ({"sparsity": 0.5, "allocation": 3}, TypeError, 'a name such as "erk", a mapping'),
        ({"allocation": "erk"}, ValueError, "needs a sparsity"),
        ({"allocation": "erk", "pattern": "2:4"}, ValueError, "2:4 keeps the same number everywh"),
        ({"allocation": {"2": 0.5}, "pattern": "2:4"}, ValueError, 'use pattern="unstructured"'),
        (
            {"sparsity": 0.5, "allocation": "lamp", "scope": "global"},
            ValueError,
            "lets layers compete for what allocation 'lamp'",
        ),
        (
            {"sparsity": 0.5, "allocation": "owl"},
            ValueError,
            "allocation 'owl' looks at the inputs",
        ),
        (
            {"sparsity": 0.5, "allocation": "erk", "calibration": [torch.ones(1, 16)]},
            ValueError,
            "reads no batches",
        ),
        ({"allocation": {"two": 0.5}}, ValueError, "allocation: 'two' matches nothing"),
        ({"allocation": {"2.weigth": 0.5}}, ValueError, r"near it: .*'2'|prunable layers are '0'"),
        ({"allocation": {"2": 0.5}}, ValueError, "says nothing of '0.weight'"),
        ({"allocation": {"*": 50}}, ValueError, r"allocation of '\*' .* not 50; did you mean 0.5"),
        ({"allocation": lambda name: -0.5}, ValueError, "not -0.5; did you mean 0.5"),
        ({"allocation": lambda name: "half"}, TypeError, "must be a number"),
    ],
)
def test_bad_input_is_refused_and_leaves_the_model_alone(
    arguments: dict[str, object], error: type[Exception], says: str
) -> None:
    model = mlp(16, 10, 4)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(error, match=says):
        prune(model, **arguments)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_the_criterions_own_scope_gives_way() -> None:
    model = mlp(8, 8, 8)
    data = {"calibration": [torch.randn(4, 8)], "loss": lambda model, x: model(x).sum()}
    masks = prune(model, 0.5, criterion="snip", allocation="erk", **data)
    assert masks.origin.scope == "layer"


def test_lamp_refuses_scores_below_zero() -> None:
    with pytest.raises(ValueError, match="'weight' has scores below 0"):
        prune(nn.Linear(4, 4), 0.5, criterion=lambda weight: weight, allocation="lamp")


def test_a_schedule_and_sparsities_by_name_contradict() -> None:
    model = mlp(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match="an allocation by name"):
        GradualPruner(model, optimizer, schedules.one_shot(0.5), allocation={"0": 0.5})


def test_every_kind_of_weight() -> None:
    for allocation in ("erk", "lamp"):
        model = Zoo()
        masks = prune(model, 0.5, targets=[nn.Module], allocation=allocation)
        assert masks.kept == masks.total - round(0.5 * masks.total)
        verify(model, masks).require()
