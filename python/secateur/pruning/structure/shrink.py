"""Removing channels for good, in one call: a model in, a smaller one out."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur.pruning.criteria import Criterion
from secateur.pruning.masks import Masks
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
from secateur.pruning.structure.groups import Group, Outcome, Solver, groups_of, settle, why_broken
from secateur.pruning.structure.report import GroupReport, Part, Report, Stay, attach
from secateur.pruning.structure.score import Scorer
from secateur.pruning.structure.trace import Trace


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
    generator: torch.Generator | None = None,
    inplace: bool = False,
) -> nn.Module:
    """Remove whole channels, and return the smaller model; `structure.report` says what went.

    A channel goes with all that depends on it: rows of the weight that makes it, columns of those
    that read it, its bias, its norm. Attention loses whole heads. What the smaller model computes
    equals what the model would with all of those set to zero (`exact`), and that is checked on the
    example inputs before it is handed out.

    Args:
        model: any module that runs on the example inputs. It is run in eval mode.
        masks: which channels go: those whose slice the masks remove in every weight that makes
            them, or in every weight that reads them. Instead of `sparsity`.
        example_inputs: a tensor, a tuple of arguments, a dict of keyword arguments, or a list of
            such calls. Every path that the model takes in use should be taken.
        sparsity: fraction of the channels of each group to remove, in [0, 1).
        criterion: how much each weight matters. A channel's score is the mean over all weights
            that go with it.
        scope: who competes: the channels of one group ("layer"), or all of the model ("global").
        round_to: what the widths left must be multiples of; fewer channels go, never more. None
            means 8 with `sparsity`, 1 with `masks`. For N:M afterwards, a multiple of M.
        targets: selectors of the layers whose output channels may go; None means all.
        ignore: selectors of layers that stay just as they are.
        exact: whether layer, group and RMS norms keep their statistics. False lets channels go
            that they take their mean and variance over; the result is then no longer checked but
            for its sizes.
        generator: for a criterion that draws.
        inplace: whether to shrink `model` itself. It changes at the very end, or not at all.

    Returns:
        the smaller model: a copy, unless `inplace`.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if an argument is out of range, both or neither of `masks` and `sparsity` are
            given, or a selector matches nothing. The model is then as it was.
        RuntimeError: if the smaller model does not give what it should. The model is as it was.
    """
    if (masks is None) == (sparsity is None):
        raise ValueError(
            "shrink: wanted either masks or sparsity, got "
            + ("both" if masks is not None else "neither, for example sparsity=0.5")
        )
    recipe = Recipe.of(criterion, "unstructured", scope)
    fraction = 0.0 if sparsity is None else recipe.sparsity(sparsity)
    multiple = _multiple(round_to, masks is None)
    stays = _stays(model, targets, ignore)
    which = None if masks is None else masks_of(masks, model)
    calls = _calls(example_inputs)

    small = copy.deepcopy(model)
    heads = dict(open_heads(small))
    trace = Trace(small, exact)
    for args, kwargs in calls:
        trace.run(args, kwargs)
    settle(trace)

    def choose(groups: Sequence[Group]) -> Choice:
        if which is not None:
            return by_masks(trace, groups, which, multiple)
        scorer = Scorer(small, trace, recipe, generator)
        return by_score(trace, groups, Wish(recipe.scope, fraction, multiple, scorer, stays))

    groups, choice, outcome = _agreed(trace, choose)
    kept = _kept(trace, choice.removed, outcome)
    kept["heads"] = [n for n in heads if any(t.startswith(f"{n}." if n else "") for t in kept["tensors"])]
    kept["attributes"] |= _no_nested(small, kept["heads"])
    reference = masked(small, kept)
    for name, module in heads.items():
        if name not in kept["heads"]:
            close_heads(module)
    before = _numbers(small)
    apply(small, kept)
    check(small, reference, calls, exact)
    made = _report(trace, groups, choice, (before, _numbers(small)), kept)
    result = apply(model, kept) if inplace else small
    attach(result, made)
    return result


def _multiple(round_to: int | None, scored: bool) -> int:
    if round_to is None:
        return 8 if scored else 1
    if isinstance(round_to, bool) or not isinstance(round_to, int):
        raise TypeError(f"round_to must be a whole number above 0, not {round_to!r}")
    if round_to < 1:
        raise ValueError(f"round_to must be a whole number above 0, not {round_to}; 1 rounds nothing")
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


def _agreed(
    trace: Trace, choose: Callable[[Sequence[Group]], Choice]
) -> tuple[list[Group], Choice, Outcome]:
    """Return groups, what goes of them, and the attributes: what cannot go together stays."""
    while True:
        groups = groups_of(trace)
        choice = choose(groups)
        outcome = Solver(trace).solve(choice.removed)
        if not outcome.broken:
            return groups, choice, outcome
        why = why_broken(outcome.broken[0])
        involved = outcome.involved or choice.removed
        for group in groups:
            if involved & set(group.atoms.tolist()):
                trace.labels.fix(group.atoms, why)


def _kept(trace: Trace, removed: frozenset[int], outcome: Outcome) -> Kept:
    tensors: dict[str, list[list[int] | None]] = defaultdict(list)
    sizes: dict[str, list[int]] = defaultdict(list)
    for axis in trace.axes:
        gone = trace.labels.gone(axis.labels, removed)
        tensors[axis.name].append(np.flatnonzero(~gone).tolist() if gone.any() else None)
        sizes[axis.name].append(len(gone))
    changed = [name for name, dims in tensors.items() if any(d is not None for d in dims)]
    attributes: dict[str, dict[str, Any]] = defaultdict(dict)
    for attr, value in outcome.values.items():
        if attr.at is None:
            attributes[attr.module][attr.name] = value
        else:
            old = [int(n) for n in getattr(trace.names[attr.module], attr.name)]
            attributes[attr.module].setdefault(attr.name, old)[attr.at] = value
    scales = {}
    for norm in trace.norms:
        gone = trace.labels.gone(norm.labels, removed)
        if gone.any():
            module: Any = trace.names[norm.module]
            share = len(gone) / (len(gone) - int(gone.sum()))
            eps = torch.finfo(module.weight.dtype).eps if module.eps is None else module.eps
            attributes[norm.module]["eps"] = eps * share
            scales[f"{norm.module}.weight" if norm.module else "weight"] = math.sqrt(share)
    return {
        "tensors": {name: tensors[name] for name in changed},
        "sizes": {name: sizes[name] for name in changed},
        "attributes": dict(attributes),
        "scales": scales,
    }


def _no_nested(model: nn.Module, heads: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the attribute that keeps encoders from nesting tensors, which fewer heads cannot take."""
    return {
        name: {"use_nested_tensor": False}
        for name, module in model.named_modules()
        if isinstance(module, nn.TransformerEncoder)
        and any(head.startswith(f"{name}." if name else "") for head in heads)
    }


def _report(
    trace: Trace,
    groups: Sequence[Group],
    choice: Choice,
    numbers: tuple[int, int],
    kept: Kept,
) -> Report:
    made = []
    for group in groups:
        left = len(group) - len(choice.removed & set(group.atoms.tolist()))
        parts = tuple(
            Part(m.axis.name, m.axis.dim, m.positions.shape[1]) for m in group.members
        )
        why = choice.why.get(group, "")
        made.append(GroupReport(group.name, len(group), left, parts, why))
    stays = []
    for axis in trace.axes:
        reasons = trace.labels.reasons(axis.labels)
        if axis.parameter and len(axis.labels) > 1 and reasons:
            why = max(reasons, key=lambda r: reasons[r])
            stays.append(Stay(axis.name, axis.dim, sum(reasons.values()), len(axis.labels), why))
    return Report(tuple(made), tuple(stays), *numbers, kept)


def _numbers(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
