"""Which channels go: by score and sparsity, or because masks say so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.pruning.masks import Masks
from secateur.pruning.scopes import Scope
from secateur.pruning.select import Scores, keep_per_row
from secateur.pruning.structure.groups import Group, overlapping
from secateur.pruning.structure.score import Scorer
from secateur.pruning.structure.trace import Trace

Flags = NDArray[np.bool_]
_CROSSED = "the same weights lose other slices already"


@dataclass
class Choice:
    """Which channels go.

    Attributes:
        removed: their atoms.
        why: by group, why it loses no more.
    """

    removed: frozenset[int] = frozenset()
    why: dict[Group, str] = field(default_factory=dict)

    def drop(self, group: Group, lives: Flags) -> None:
        """Remove the channels of `group` that do not live."""
        self.removed |= frozenset(group.atoms[~lives].tolist())


@dataclass(frozen=True)
class Wish:
    """What the user asked for.

    Attributes:
        scope: who competes.
        sparsity: fraction of the channels to remove.
        round_to: what the widths left must be multiples of.
        scorer: gives each group's scores.
        stays: why a group stays though it could go, in words; "" if it may go.
    """

    scope: Scope
    sparsity: float
    round_to: int
    scorer: Scorer
    stays: Callable[[Group], str]


def by_score(trace: Trace, groups: Sequence[Group], wish: Wish) -> Choice:
    """Remove the channels that matter least; no more than asked for, and of no group all."""
    choice = Choice()
    taken: list[Group] = []
    crossing = overlapping(groups, trace)
    used: set[int] = set()
    for number, group in enumerate(groups):
        step = group.multiple(trace, wish.round_to)
        why = wish.stays(group)
        if not why and crossing[number] & used:
            why = _CROSSED
        if not why and len(group) <= step:
            why = f"what is left must be a multiple of {step}"
        if why:
            choice.why[group] = why
        else:
            taken.append(group)
            used.add(number)
    scores = [wish.scorer.scores(group) for group in taken]
    keep = wish.scope.keep([_constant(each) for each in scores], wish.sparsity) if taken else []
    for group, score, units in zip(taken, scores, keep, strict=True):
        left = int(units.sum())
        count = _rounded(left, group.multiple(trace, wish.round_to), len(group))
        if count != left:
            choice.why[group] = f"{left} rounded up to {count}"
        choice.drop(group, keep_per_row(score, count)[0].cpu().numpy())
    return choice


def _constant(score: Tensor) -> Scores:
    return lambda: score


def _rounded(left: int, step: int, most: int) -> int:
    return min(most, max(1, math.ceil(left / step)) * step)


def by_masks(
    trace: Trace, groups: Sequence[Group], masks: Mapping[str, Tensor], round_to: int
) -> Choice:
    """Remove the channels that masks leave nothing of, on their way out or on their way in.

    A channel goes if the masks remove its slice in every weight that makes it, or in every weight
    that reads it. To make up a multiple of `round_to`, the lowest of those stay.
    """
    choice = Choice()
    crossing = overlapping(groups, trace)
    used: set[int] = set()
    for number, group in enumerate(groups):
        goes, some = _emptied(group, masks)
        if not goes.any():
            if some:
                choice.why[group] = some
        elif crossing[number] & used:
            choice.why[group] = _CROSSED
        else:
            left = len(group) - int(goes.sum())
            count = _rounded(left, group.multiple(trace, round_to), len(group))
            goes[np.flatnonzero(goes)[: count - left]] = False
            if count != left:
                choice.why[group] = f"{left} rounded up to {count}"
            choice.drop(group, ~goes)
            used.add(number)
    return choice


def _emptied(group: Group, masks: Mapping[str, Tensor]) -> tuple[Flags, str]:
    """Return which channels the masks empty on one side, and what they empty in part, in words."""
    sides: dict[str, list[Flags]] = {"out": [], "in": []}
    emptied: list[str] = []
    alive: list[str] = []
    for member in group.members:
        axis = member.axis
        if not axis.side:
            continue
        gone: Flags = np.zeros(len(group), np.bool_)
        if axis.name in masks:
            mask = masks[axis.name]
            dead = ~mask.movedim(axis.dim, 0).flatten(1).any(1)
            gone = np.logical_and.reduce(dead.cpu().numpy()[member.positions], axis=1)
        sides[axis.side].append(gone)
        (emptied if gone.any() else alive).append(axis.name)
    whole: list[Flags] = [np.logical_and.reduce(side) for side in sides.values() if side]
    goes: Flags = np.logical_or.reduce([np.zeros(len(group), np.bool_), *whole])
    some = f"masks empty {', '.join(emptied)}, but not {', '.join(alive)}" if emptied else ""
    return goes, some


def masks_of(masks: Masks | Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return masks by the first name of each parameter, checked against the model.

    Raises:
        TypeError: if a mask is not a bool tensor.
        ValueError: if a mask's parameter is missing or has another shape.
    """
    checked = masks if isinstance(masks, Masks) else Masks(masks)
    parameters = checked.parameters(model)
    first = {id(p): name for name, p in model.named_parameters()}
    return {first[id(parameters[name])]: checked[name] for name in checked}
