"""Removing channels for good, in one call: a model in, a smaller one out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from secateur.pruning.calibration import Loss
from secateur.pruning.criteria import Criterion, Evidence
from secateur.pruning.evidence import Request, check_given, gather
from secateur.pruning.masks import Masks
from secateur.pruning.progress import Callback, Progress
from secateur.pruning.recipe import Recipe
from secateur.pruning.scopes import Scope
from secateur.pruning.selectors import (
    Selectors,
    listed,
    matcher,
    matches_parameter,
    nothing_matched,
)
from secateur.pruning.structure.apply import Kept, apply
from secateur.pruning.structure.attention import close_heads, open_heads
from secateur.pruning.structure.check import Call, check, masked
from secateur.pruning.structure.choose import Choice, Wish, by_masks, by_score, masks_of
from secateur.pruning.structure.groups import Group
from secateur.pruning.structure.models import check_model
from secateur.pruning.structure.plan import Plan
from secateur.pruning.structure.report import Report, attach
from secateur.pruning.structure.score import Scorer
from secateur.pruning.structure.trace import Trace
from secateur.pruning.targets import select


def shrink(  # noqa: PLR0913  (keywords of the front door; each is one decision of the user's)
    model: nn.Module,
    masks: Masks | Mapping[str, Tensor] | None = None,
    *,
    example_inputs: object,
    sparsity: float | None = None,
    criterion: str | Criterion = "magnitude",
    scope: str | Scope = "layer",
    round_to: int | None = None,
    targets: Selectors | None = None,
    ignore: Selectors = (),
    exact: bool = True,
    calibration: Iterable[Any] | Mapping[str, Any] | Tensor | None = None,
    loss: Loss | None = None,
    generator: torch.Generator | None = None,
    inplace: bool = False,
    progress: Callback | None = None,
) -> nn.Module:
    """Remove whole channels for good; `structure.report(small)` says which, and why no more.

    The result equals `model` with all that goes set to zero; that is checked (docs/structure.md).

    Args:
        model: any module. It is run in eval mode.
        masks: which channels go: those that all their makers, or all their readers, have lost.
        example_inputs: a tensor, a tuple of arguments, a dict of keywords, or a list of such calls.
        sparsity: fraction of the channels to remove, in [0, 1).
        criterion: how much each weight matters; a channel matters as the mean of its weights.
        scope: who competes: channels of one group ("layer"), or of the whole model ("global").
        round_to: widths left are rounded up to multiples of this; None: 8, or 1 with `masks`.
        targets: selectors of the layers whose output channels may go; None means all.
        ignore: selectors of layers to leave just as they are.
        exact: False: channels may go that a norm takes its mean over, and nothing is compared.
        calibration: batches for a criterion that looks at inputs or gradients, as in `prune`.
        loss: (model, batch) -> scalar, for one that looks at gradients, as in `prune`.
        generator: for a criterion that draws.
        inplace: shrink `model` itself: at the very end, or not at all.
        progress: called with (steps done, total, what comes next); None: a bar, on a terminal.

    Returns:
        the smaller model, a copy unless `inplace`.

    Raises:
        ValueError: if an argument is out of range, contradicts another, or matches nothing.
        RuntimeError: if the result is not what it should be. The model is always as it was.
    """
    multiple = _round_to(masks, sparsity, round_to)
    recipe = Recipe.of(criterion, "unstructured", scope)
    part = 0.0 if sparsity is None else recipe.sparsity(sparsity)
    stays = _stays(model, targets, ignore)
    evidence = _evidence(model, ignore, recipe.criterion, calibration, loss)

    def choose(trace: Trace, groups: Sequence[Group]) -> Choice:
        if masks is not None:
            return by_masks(trace, groups, masks_of(masks, trace.model), multiple)
        scorer = Scorer(trace, recipe.criterion, evidence, generator)
        return by_score(trace, groups, Wish(recipe.scope, part, multiple, scorer, stays))

    small, made = _shrunk(model, _calls(example_inputs), choose, exact, progress)
    return attach(apply(model, made.kept) if inplace else small, made)


def _evidence(
    model: nn.Module,
    ignore: Selectors,
    criterion: Criterion,
    calibration: object,
    loss: Loss | None,
) -> dict[str, Evidence]:
    """Return what the criterion needs beside seeds, by parameter name."""
    if criterion.needs <= {"seed"}:
        check_given(Request(criterion, model, {}, calibration, loss))
        return {}
    return gather(Request(criterion, model, select(model, None, ignore), calibration, loss))


def _shrunk(
    model: nn.Module,
    calls: Sequence[Call],
    choose: Callable[[Trace, Sequence[Group]], Choice],
    exact: bool,
    progress: Callback | None,
) -> tuple[nn.Module, Report]:
    """Return a smaller copy, checked, and what was done."""
    check_model(model)
    small = copy.deepcopy(model)
    heads = dict(open_heads(small))
    trace = Trace(small, exact)
    with Progress(len(calls) + 2, progress) as steps:
        for number, (args, kwargs) in enumerate(calls):
            steps.step(f"watching call {number + 1} of {len(calls)}")
            trace.run(args, kwargs)
        steps.step("choosing channels")
        plan = Plan.of(trace, partial(choose, trace))
        kept = plan.kept
        kept["heads"] = [name for name in heads if _cut_inside(name, kept)]
        kept["attributes"] |= _no_nested(small, kept["heads"])
        reference = masked(small, kept)
        for name, module in heads.items():
            if name not in kept["heads"]:
                close_heads(module)
        before = _numbers(small)
        apply(small, kept)
        steps.step("comparing with the masked model")
        check(small, reference, calls, exact)
    return small, plan.report(before, _numbers(small))


def _cut_inside(module: str, kept: Kept) -> bool:
    prefix = f"{module}." if module else ""
    return any(name.startswith(prefix) for name in kept["tensors"])


def _no_nested(model: nn.Module, heads: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the attribute that keeps encoders from nesting tensors: HeadAttention takes none."""
    return {
        name: {"use_nested_tensor": False}
        for name, module in model.named_modules()
        if isinstance(module, nn.TransformerEncoder)
        and any(head.startswith(f"{name}." if name else "") for head in heads)
    }


def _numbers(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _round_to(masks: object, sparsity: object, round_to: object) -> int:
    """Return what widths are rounded to."""
    if (masks is None) == (sparsity is None):
        came = "both" if masks is not None else "neither, for example sparsity=0.5"
        raise ValueError(f"shrink: wanted either masks or sparsity, got {came}")
    if round_to is None:
        return 8 if masks is None else 1
    if isinstance(round_to, bool) or not isinstance(round_to, int):
        raise TypeError(f"round_to must be a whole number above 0, not {round_to!r}")
    if round_to < 1:
        raise ValueError(f"round_to must be a whole number above 0, not {round_to}; 1 rounds none")
    return round_to


def _calls(example_inputs: object) -> list[Call]:
    """Return (args, kwargs) for each call that `example_inputs` describes."""
    if isinstance(example_inputs, list):
        found = [call for one in example_inputs for call in _calls(one)]
        if not found:
            raise ValueError("example_inputs: wanted at least one call, got an empty list")
        return found
    if isinstance(example_inputs, Mapping):
        return [((), dict(example_inputs))]
    if isinstance(example_inputs, tuple):
        return [(example_inputs, {})]
    return [((example_inputs,), {})]


def _stays(
    model: nn.Module, targets: Selectors | None, ignore: Selectors
) -> Callable[[Group], str]:
    """Return the function that says why the user does not want a group to go, or ""."""
    wanted = None if targets is None else _parameters(model, targets, "targets")
    unwanted = _parameters(model, ignore, "ignore")

    def stays(group: Group) -> str:
        for member in group.members:
            if member.axis.name in unwanted:
                return f"ignored, with {member.axis.name}"
        makes = {m.axis.name for m in group.members if m.axis.side != "in"}
        return "" if wanted is None or makes & wanted else "not among the targets"

    return stays


def _parameters(model: nn.Module, selectors: Selectors, argument: str) -> set[str]:
    """Return the first names of the parameters that selectors mean."""
    first = {id(p): name for name, p in model.named_parameters()}
    held = [
        (name, module, f"{name}.{word}" if name else word, first[id(p)])
        for name, module in model.named_modules(remove_duplicate=False)
        for word, p in module._parameters.items()
        if p is not None
    ]
    found: set[str] = set()
    for selector in listed(selectors):
        matches = matcher(selector)
        hits = {
            parameter
            for name, module, key, parameter in held
            if matches(name, module) or matches_parameter(selector, key, module)
        }
        if not hits:
            names = list(dict.fromkeys(name for name, *_ in held))
            raise ValueError(nothing_matched(argument, selector, model, names))
        found |= hits
    return found
