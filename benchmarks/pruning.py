"""What pruning itself costs, against what was asked of it. Of kernels it knows nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks import resident
from benchmarks.timing import Candidate, Plan, Samples, measure, ratio

SIDE, LAYERS = 4096, 6
"""A hundred million weights, in layers of 67 MB each."""
GROUPS = ((2, 4), (1, 4), (4, 8))
ROWS, WIDTH, HIDDEN = 1024, 1024, 4096
"""The training step: rows of x, and the features of an MLP's two layers."""

ASKED_SUMS = 4.0
"""Times that abs().sum() over the same weights may be taken by finding the masks of all."""
ASKED_LAYERS = 1.3
"""Largest layers that this may need in memory, beside its result."""
ASKED_BANDWIDTH = 0.30
"""Share of the memory bandwidth that an N:M mask shall be made at."""
ASKED_STEP = 0.03
"""Share of a training step that writing the zeros again may take."""


@dataclass(frozen=True)
class Line:
    """One figure: what it is of, what was asked, and what came, over all rounds."""

    what: str
    asked: str
    got: str
    missed: bool

    def __str__(self) -> str:
        return f"{self.what:<72} {self.asked:>8} / {self.got}{' miss' if self.missed else ''}"


def run(plan: Plan, say: Callable[[object], None]) -> None:
    """Measure everything and say each line when it is known."""
    say(f"{'':<72} {'asked':>8} / got")
    for lines in (_across(plan), _peak(), _groups(plan), _step(plan)):
        for line in lines:
            say(line)


def _weights() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(SIDE, SIDE, generator=generator) for _ in range(LAYERS)]


def _model() -> nn.Sequential:
    layers = [nn.Linear(1, 1, bias=False) for _ in range(LAYERS)]
    for layer, weight in zip(layers, _weights(), strict=True):
        layer.weight = nn.Parameter(weight)
    return nn.Sequential(*layers)


def _global(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the masks of global magnitude pruning; the weights stay."""
    recipes: Any = importlib.import_module("secateur.pruning.recipe")
    targets: Any = importlib.import_module("secateur.pruning.targets")
    recipe = recipes.Recipe.of("magnitude", "unstructured", "global")
    masks: dict[str, torch.Tensor] = recipe.masks(targets.select(model), 0.9)
    return masks


def _across(plan: Plan) -> Iterator[Line]:
    model = _model()
    weights = [p.detach() for p in model.parameters()]
    samples = measure(
        [
            Candidate("sum", [lambda: [w.abs().sum() for w in weights]]),
            Candidate("masks", [lambda: _global(model)]),
        ],
        plan,
    )
    taken = ratio(samples["masks"], samples["sum"])
    millions = sum(w.numel() for w in weights) / 1e6
    yield Line(
        f"masks of global magnitude, {millions:.0f} M weights, in abs().sum()",
        f"{ASKED_SUMS:g}",
        f"{_spread(taken)}; {samples['masks'].median:.3g} s",
        taken.median > ASKED_SUMS,
    )


def _peak() -> Iterator[Line]:
    model = _model()
    masks = SIDE * SIDE * LAYERS
    try:
        peak = resident.peak_extra(lambda: _global(model)) - masks
    except resident.Unknown as reason:
        yield Line(f"memory beside the masks: {reason}", f"{ASKED_LAYERS:g}", "not told", False)
        return
    got = peak / (4 * SIDE * SIDE)
    what = "their memory beside the masks themselves, in layers"
    yield Line(what, f"{ASKED_LAYERS:g}", f"{got:.2f}", got > ASKED_LAYERS)


def _groups(plan: Plan) -> Iterator[Line]:
    groups: Any = importlib.import_module("secateur.pruning.groups")
    scores = [weight.abs() for weight in _weights()[:2]]
    candidates = [Candidate("read", [lambda s=s: s.sum() for s in scores])]
    for n, m in GROUPS:
        calls = [lambda s=s, n=n, m=m: groups.keep_in_groups(s.view(-1, m), n) for s in scores]
        candidates.append(Candidate(f"{n}:{m}", calls))
    samples = measure(candidates, plan)
    weights = scores[0].numel()
    for n, m in GROUPS:
        # A score of 4 bytes is read and a mask of 1 byte written; sum() reads the 4 alone.
        share = ratio(samples["read"], samples[f"{n}:{m}"])
        got = 5 / 4 * share.median
        rate = 5 * weights / samples[f"{n}:{m}"].median / 1e9
        yield Line(
            f"{n}:{m} mask of {SIDE}x{SIDE} scores, share of the bandwidth of sum()",
            f"{ASKED_BANDWIDTH:.0%}",
            f"{got:.1%} ±{share.spread:.0%}; {rate:.2f} GB/s",
            got < ASKED_BANDWIDTH,
        )


def _step(plan: Plan) -> Iterator[Line]:
    pruning: Any = importlib.import_module("secateur.pruning")
    attach: Any = importlib.import_module("secateur.training.attach")
    model = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH))
    optimizer = torch.optim.AdamW(model.parameters())
    masks = pruning.prune(model, 0.9)
    x = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0))

    named = masks.parameters(model)
    with attach.attached(masks, optimizer):

        def step() -> None:
            optimizer.zero_grad(set_to_none=False)
            model(x).square().mean().backward()
            optimizer.step()

        def after() -> None:
            for name, parameter in named.items():
                masks.zero_(name, parameter, *attach.per_weight_state(optimizer, parameter))

        def gradients() -> None:
            for name, parameter in named.items():
                masks.zero_(name, parameter.grad)

        step()
        parts = {"weights and AdamW's state": after, "gradients as they arrive": gradients}
        candidates = [Candidate("step", [step]), *(Candidate(n, [c]) for n, c in parts.items())]
        samples = measure(candidates, plan)
    for what in parts:
        share = ratio(samples[what], samples["step"])
        got = f"{share.median:.2%} ±{share.spread:.0%}; {samples[what].median * 1e3:.3g} ms"
        label = f"zeros written again, {what}, in a step of {ROWS} rows"
        yield Line(label, f"{ASKED_STEP:.0%}", got, share.median > ASKED_STEP)


def _spread(samples: Samples) -> str:
    return f"{samples.median:.2f} ±{samples.spread:.0%}"
