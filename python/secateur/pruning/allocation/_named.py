"""The user's own word on how much each layer gives up: by selector, or by a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast

from torch import nn

from secateur.pruning.allocation._base import ALLOCATIONS, Allocation, Layer
from secateur.pruning.selectors import (
    Selector,
    matcher,
    matches_parameter,
    nothing_matched,
    some,
)
from secateur.pruning.sparsity import fraction
from secateur.pruning.targets import Target

Wanted: TypeAlias = "Mapping[Selector, float] | Callable[[str], float | None]"
"""Sparsity by selector, or by parameter name; None: the sparsity of the rest."""


class Named:
    """Sparsities the user gave, layer by layer.

    A mapping's exact names go before its other selectors, and of those the first that matches
    decides. Layers that nothing names get the sparsity of the rest, prune's `sparsity`.

    Args:
        wanted: sparsity, as a fraction of the layer's units in [0, 1), by selector; or a function
            from the parameter's name, that may return None for "as the rest".
    """

    name = "by name"
    needs: frozenset[str] = frozenset()
    even = False

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def shares(self, layers: Sequence[Layer], sparsity: float) -> list[float]:
        """Return what the user said of each layer."""
        found = [self._of(layer.target) for layer in layers]
        return [sparsity if share is None else share for share in found]

    def check(self, model: nn.Module, targets: Sequence[Target], rest: bool) -> None:
        """Raise unless the user's word makes sense for these weights.

        Args:
            model: the model they are of.
            targets: the weights.
            rest: whether there is a sparsity for what nothing names.

        Raises:
            TypeError: if a sparsity is no number.
            ValueError: if one is out of range, a selector matches nothing, or a layer is left out.
        """
        if isinstance(self._wanted, Mapping):
            for selector in self._wanted:
                if not any(_matches(selector, target) for target in targets):
                    names = [target.name for target in targets]
                    raise ValueError(nothing_matched("allocation", selector, model, names))
        unnamed = [target.key for target in targets if self._of(target) is None]
        if unnamed and not rest:
            raise ValueError(
                f"allocation says nothing of {some(unnamed)}, and there is no sparsity for the "
                "rest; name them, give a sparsity, or leave them out with ignore"
            )

    def _of(self, target: Target) -> float | None:
        if not isinstance(self._wanted, Mapping):
            share = self._wanted(target.key)
            return None if share is None else fraction(share, f"allocation of {target.key!r}")
        exact = [s for s in self._wanted if s in (target.key, target.name)]
        for selector in [*exact, *self._wanted]:
            if _matches(selector, target):
                return fraction(self._wanted[selector], f"allocation of {selector!r}")
        return None


def _matches(selector: Selector, target: Target) -> bool:
    whole = matcher(selector)(target.name, target.module)
    return whole or matches_parameter(selector, target.key, target.module)


def find_allocation(allocation: str | Allocation | Wanted) -> Allocation:
    """Return the allocation of this name, the user's own, or the object given.

    Raises:
        TypeError: if it is none.
        ValueError: if the name is unknown.
    """
    if isinstance(allocation, str):
        return ALLOCATIONS.get(allocation)()
    if hasattr(allocation, "shares"):
        return cast("Allocation", allocation)
    if isinstance(allocation, Mapping) or callable(allocation):
        return Named(allocation)
    raise TypeError(
        'allocation must be a name such as "erk", a mapping from selectors to sparsities, or a '
        f"function from a parameter's name to a sparsity, not {allocation!r}"
    )
