"""Every criterion x pattern x scope x allocation composes, or refuses with a reason; and schedules.

Driven by the registries: a new file in one of the rooms is tested here at once. What is composed
and what is refused, and why: `python -m tests.contracts.test_pruning_rooms` lists it.
"""

from __future__ import annotations

import copy
import inspect
import math
from dataclasses import fields, replace
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur.pruning import Masks, prune, verify
from secateur.pruning.allocation import ALLOCATIONS
from secateur.pruning.criteria import CRITERIA, Criterion, Evidence
from secateur.pruning.evidence import reads
from secateur.pruning.patterns import PATTERNS, find_pattern
from secateur.pruning.schedules import SCHEDULES, Schedule
from secateur.pruning.scopes import SCOPES
from secateur.pruning.shape import Shape
from secateur.training import GradualPruner

PATTERN_NAMES = [name for kind in PATTERNS.names() for name in PATTERNS.get(kind).examples]
# In and out features that every example pattern divides, and layers of different shapes.
WIDTHS = (40, 80, 120)
SPARSITY = 0.7
# The words of schedules: one that needs another argument gives it a default, or adds a word here.
WORDS: dict[str, Any] = {
    "initial": 0.1,
    "start": 0.1,
    "add": 0.3,
    "steps": range(1, 9, 2),
    "step": 3,
}

criteria = pytest.mark.parametrize("criterion", CRITERIA.names())
patterns = pytest.mark.parametrize("pattern", PATTERN_NAMES)
scopes = pytest.mark.parametrize("scope", SCOPES.names())
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.names())
UNEVEN = [name for name in ALLOCATIONS.names() if not ALLOCATIONS.get(name)().even]
# How often masks are made is the schedule's business, who competes the scope's: each criterion is
# tried with one of both, and one criterion with all.
GRADUAL = [
    *((criterion, "layer", SCHEDULES.names()[0]) for criterion in CRITERIA.names()),
    *product(["magnitude"], SCOPES.names(), SCHEDULES.names()),
]


def build() -> nn.Sequential:
    """Linear layers, each with a BatchNorm behind it, for criteria that look there."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for k, n in pairwise(WIDTHS):
        linear, norm = nn.Linear(k, n), nn.BatchNorm1d(n)
        # Many equal scores, so that ties are part of every contract.
        for weight in (linear.weight, norm.weight):
            weight.data = torch.randint(-3, 4, weight.shape).float()
        layers += [linear, norm]
    return nn.Sequential(*layers)


def of(criterion: str) -> Criterion:
    """Return the criterion; one that works in rounds does three."""
    ours = CRITERIA.get(criterion)()
    if hasattr(ours, "rounds"):
        ours.rounds = 3
    return ours


def loss(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch).square().mean()


def data_for(criterion: str, training: bool = False) -> dict[str, Any]:
    """Return what the criterion asks the user for; gradients come from training, where there is."""
    given: dict[str, Any] = {
        "calibration": [torch.randn(6, WIDTHS[0]) for _ in range(2)],
        "loss": loss,
    }
    wanted = reads(of(criterion))
    return {} if training and "loss" in wanted else {word: given[word] for word in wanted}


def refusal(criterion: str, pattern: str, scope: str) -> str | None:
    """Say which words of the error to expect, if the three make no sense together."""
    ours = find_pattern(pattern)
    if ours.sparsity is not None and SCOPES.get(scope)().mixes_layers:
        return f"scope='{scope}' lets layers compete, but pattern {pattern}"
    if hasattr(of(criterion), "draw") and not SCOPES.get(scope)().mixes_layers:
        return f"criterion '{criterion}' draws how many weights"
    if not ours.within_rows and scope == "row":
        return f"a unit of pattern {pattern} is not inside one row"
    if getattr(of(criterion), "whole_rows", False) and not keeps_rows_whole(pattern):
        return f"criterion '{criterion}' says which output channels matter"
    return None


def refusal_to_allocate(criterion: str, pattern: str, scope: str, allocation: str) -> str | None:
    """Say which words of the error to expect, if the four make no sense together."""
    reason = refusal(criterion, pattern, scope)
    of_the_layers = reason is None or "which output channels" in reason
    if not of_the_layers or ALLOCATIONS.get(allocation)().even:
        return reason
    if find_pattern(pattern).sparsity is not None:
        return f"gives layers different sparsities, but pattern {pattern}"
    if SCOPES.get(scope)().mixes_layers:
        return f"scope='{scope}' lets layers compete for what allocation '{allocation}'"
    return reason


def keeps_rows_whole(pattern: str) -> bool:
    """Remove one unit after another, and look for a row of which only a part is gone."""
    ours, shape = find_pattern(pattern), Shape(WIDTHS[1], WIDTHS[0])
    keep = ours.to_units(torch.ones(shape.rows, shape.columns), shape) > 0
    for unit in range(keep.numel()):
        mask = ours.to_mask(torch.arange(keep.numel()).reshape(keep.shape) != unit, shape)
        if bool((mask.any(1) & ~mask.all(1)).any()):
            return False
    return True


def sparsity_of(pattern: str) -> float:
    own = find_pattern(pattern).sparsity
    return SPARSITY if own is None else own


def schedule_of(name: str, final: float) -> Schedule:
    factory = SCHEDULES.get(name)
    own = {"final": final, "until": final, "wanted": lambda step: final}
    given = {**own, **WORDS}
    signature = inspect.signature(factory).parameters.values()
    return factory(**{p.name: given[p.name] for p in signature if p.name in given})


def pruned(
    criterion: str, pattern: str, scope: str, allocation: str = "uniform"
) -> tuple[nn.Sequential, Masks]:
    model = build()
    data = data_for(criterion)
    if "calibration" in reads(ALLOCATIONS.get(allocation)()):
        data.setdefault("calibration", [torch.randn(6, WIDTHS[0])])
    masks = prune(
        model,
        sparsity_of(pattern),
        criterion=of(criterion),
        pattern=pattern,
        scope=scope,
        allocation=allocation,
        generator=torch.Generator().manual_seed(1),
        **data,
    )
    return model, masks


def assert_as_sparse_as_asked(masks: Masks, pattern: str, criterion: str) -> None:
    """Sparsity is counted in units; a scope rounds once for each row of them at the most.

    A number that is drawn is within 6 sigma of the binomial distribution.
    """
    ours = find_pattern(pattern)
    units = [ours.to_units(mask.float(), Shape(*mask.shape)) > 0 for mask in masks.values()]
    removed = sum(int((~keep).sum()) for keep in units)
    wanted = sparsity_of(pattern) * sum(keep.numel() for keep in units)
    off = 0.5 * sum(len(keep) for keep in units)
    if hasattr(of(criterion), "draw"):
        off = 6 * math.sqrt(wanted * (1 - sparsity_of(pattern)))
    assert abs(removed - wanted) <= off


@criteria
@patterns
@scopes
def test_prune(criterion: str, pattern: str, scope: str) -> None:
    reason = refusal(criterion, pattern, scope)
    if reason is None and "history" in of(criterion).needs:
        reason = "follows a training run step by step: use GradualPruner"
    if reason is not None:
        with pytest.raises(ValueError, match=reason):
            pruned(criterion, pattern, scope)
        return
    model, masks = pruned(criterion, pattern, scope)
    before = build()
    for i, name in ((0, "0.weight"), (2, "2.weight")):
        kept = before[i].weight.where(masks[name], 0.0)
        assert torch.equal(model[i].weight, kept), "a kept weight changed"
        assert torch.equal(model[i].bias, before[i].bias)
        shape = Shape(*masks[name].shape)
        assert find_pattern(pattern).broken_by(masks[name], shape) is None
    assert_as_sparse_as_asked(masks, pattern, criterion)
    verify(model, masks, pattern=pattern).require()
    assert pruned(criterion, pattern, scope)[1] == masks, "the same seed gives other masks"


@criteria
@pytest.mark.parametrize("allocation", UNEVEN)
def test_allocate(criterion: str, allocation: str) -> None:
    """With every pattern and scope: one model each, for there are many."""
    for pattern, scope in product(PATTERN_NAMES, SCOPES.names()):
        reason = refusal_to_allocate(criterion, pattern, scope, allocation)
        if reason is None and "history" in of(criterion).needs:
            reason = "follows a training run step by step: use GradualPruner"
        if reason is not None:
            with pytest.raises(ValueError, match=reason):
                pruned(criterion, pattern, scope, allocation)
            continue
        model, masks = pruned(criterion, pattern, scope, allocation)
        verify(model, masks, pattern=pattern).require()
        assert masks.origin is not None
        assert masks.origin.allocation == allocation
        if scope == "layer":
            ours = find_pattern(pattern)
            units = [ours.to_units(m.float(), Shape(*m.shape)) > 0 for m in masks.values()]
            n = sum(keep.numel() for keep in units)
            assert sum(int(keep.sum()) for keep in units) == n - round(SPARSITY * n)


@pytest.mark.parametrize(("criterion", "scope", "schedule"), GRADUAL)
@patterns
def test_gradual(criterion: str, pattern: str, scope: str, schedule: str) -> None:
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    plan = schedule_of(schedule, sparsity_of(pattern))
    words: dict[str, Any] = {"criterion": of(criterion), "pattern": pattern, "scope": scope}
    words |= data_for(criterion, training=True)
    reason = refusal(criterion, pattern, scope)
    if reason is None and hasattr(of(criterion), "draw"):
        reason = "where the schedule says it"
    if reason is not None:
        with pytest.raises(ValueError, match=reason):
            GradualPruner(model, optimizer, plan, **words)
        return
    pruner = GradualPruner(model, optimizer, plan, **words)
    before = {name: mask.clone() for name, mask in pruner.masks.items()}
    for _ in range(10):
        optimizer.zero_grad()
        model(torch.randn(4, WIDTHS[0])).square().mean().backward()
        optimizer.step()
        pruner.step()
        assert not any(bool((m & ~before[n]).any()) for n, m in pruner.masks.items())
        before = {name: mask.clone() for name, mask in pruner.masks.items()}
        verify(model, pruner.masks).require()
    assert_as_sparse_as_asked(pruner.masks, pattern, criterion)
    verify(model, pruner.masks, pattern=pattern).require()


@every_schedule
def test_a_schedule_rises_to_its_end_and_copies(schedule: str) -> None:
    plan = schedule_of(schedule, SPARSITY)
    values = [plan(step) for step in range(20)]
    assert values == sorted(values)
    assert values[0] == 0.0, "nothing before the first of the steps"
    assert values[-1] == plan.final == SPARSITY
    assert copy.deepcopy(plan) == plan
    with pytest.raises(ValueError, match=r"did you mean 0\.7"):
        schedule_of(schedule, 100 * SPARSITY)


@criteria
def test_a_criterion_repeats_itself_and_leaves_the_weight(criterion: str) -> None:
    ours = CRITERIA.get(criterion)()
    weight = torch.randn(6, 8)
    before = weight.clone()
    shapes = {"input_norms": (1, 8), "scales": (6,)}
    words = (field.name for field in fields(Evidence) if field.name != "seed")
    everything = Evidence(seed=5, **{word: torch.rand(shapes.get(word, (6, 8))) for word in words})
    first, second = (ours.score(weight, everything) for _ in range(2))
    assert first.shape == weight.shape
    assert bool((first > -float("inf")).all())
    assert torch.equal(first, second)
    assert torch.equal(weight, before)
    assert ours.name == criterion
    for word in ours.needs:
        with pytest.raises(ValueError, match=f"'{criterion}' needs evidence.{word}"):
            ours.score(weight, replace(everything, **{word: None}))


@patterns
def test_a_pattern_says_its_name_and_takes_its_own_masks(pattern: str) -> None:
    ours = find_pattern(pattern)
    assert ours.name == pattern
    shape = Shape(40, 80)
    assert ours.misfit(shape) is None
    everything = ours.to_units(torch.ones(40, 80), shape) > 0
    assert torch.equal(ours.to_mask(everything, shape), torch.ones(40, 80, dtype=torch.bool))
    own = ours.sparsity
    for sparsity in (0.0, 0.3, SPARSITY if own is None else own):
        assert (ours.towards(sparsity).sparsity or 0.0) <= (own or 0.0)
    assert ours.towards(SPARSITY if own is None else own) == ours


@scopes
def test_a_scope_gives_up_nothing_at_zero_and_counts_itself(scope: str) -> None:
    ours = SCOPES.get(scope)()
    layers: dict[str, Tensor] = {"a": torch.rand(4, 10), "b": torch.rand(3, 20)}
    for sparsity in (0.0, 0.35, 0.5):
        keep = ours.keep([lambda s=s: s for s in layers.values()], sparsity)
        assert [k.shape for k in keep] == [s.shape for s in layers.values()]
        named = dict(zip(layers, keep, strict=True))
        assert ours.miscounts(named, sparsity) == {}
        assert sparsity > 0 or all(bool(k.all()) for k in keep)
    named["b"][named["b"].nonzero()[0].tolist()[0]] = False
    assert "b" in ours.miscounts(named, 0.5)


@pytest.mark.parametrize("allocation", ALLOCATIONS.names())
def test_an_allocation_says_its_name(allocation: str) -> None:
    assert ALLOCATIONS.get(allocation)().name == allocation


def listing() -> list[str]:
    """One line for each criterion and pattern: the scopes and allocations that go with them."""
    lines, composed, refused = [], 0, 0
    for criterion, pattern in product(CRITERIA.names(), PATTERN_NAMES):
        said = []
        for scope in SCOPES.names():
            reasons = {
                allocation: refusal_to_allocate(criterion, pattern, scope, allocation)
                for allocation in ALLOCATIONS.names()
            }
            good = [allocation for allocation, reason in reasons.items() if reason is None]
            composed, refused = composed + len(good), refused + len(reasons) - len(good)
            said.append(f"{scope}: {' '.join(good) or 'refused, ' + str(reasons['uniform'])}")
        lines.append(f"{criterion:<16} {pattern:<12} " + "; ".join(said))
    return [*lines, f"{composed} combinations compose, {refused} are refused with a reason"]


if __name__ == "__main__":
    print("\n".join(listing()))
