"""Scores of the user's own: a function, or tensors ready made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from torch import Tensor

from secateur.pruning.criteria._base import CRITERIA, Criterion, Evidence

AnyCriterion: TypeAlias = "str | Criterion | Callable[..., Tensor] | Mapping[str, Tensor]"
"""What a user may give for one; see `find_criterion`."""


class _Scores:
    needs: frozenset[str] = frozenset({"scores"})
    wide: ClassVar[bool] = True

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return what the user gave, [out, in]."""
        return evidence.get("scores", "scores")


class ByFunction(_Scores):
    """Asks a function (name, weight) -> scores, or (weight) -> scores, in the parameter's shape."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = getattr(function, "__name__", type(function).__name__)
        self._function = function
        self._wants_name = _takes_two(function)

    def own_scores(self, name: str, weight: Tensor) -> Tensor:
        """Return what the function says."""
        given: Tensor = self._function(name, weight) if self._wants_name else self._function(weight)
        return given


class ByName(_Scores):
    """Looks the scores up by parameter name."""

    name = "scores"

    def __init__(self, scores: Mapping[str, Tensor]) -> None:
        self.by_name = scores

    def own_scores(self, name: str, weight: Tensor) -> Tensor:
        """Return the tensor of that name.

        Raises:
            ValueError: if there is none.
        """
        if name not in self.by_name:
            known = ", ".join(map(repr, list(self.by_name)[:8])) or "none"
            raise ValueError(
                f"criterion: there are no scores for {name!r}, which is to be pruned; there are "
                f"scores for {known}. Add them, or leave the layer out with ignore=[...]"
            )
        return self.by_name[name]


def find_criterion(criterion: AnyCriterion) -> Criterion:
    """Return the criterion that a name, an object, a function or a mapping of scores stands for.

    Raises:
        TypeError: if it is none of these.
        ValueError: if no criterion goes by that name.
    """
    if isinstance(criterion, str):
        return CRITERIA.get(criterion)()
    thing: Any = criterion() if isinstance(criterion, type) else criterion
    if hasattr(thing, "score"):
        found: Criterion = thing
        return found
    if isinstance(criterion, Mapping):
        return ByName(criterion)
    if callable(criterion):
        return ByFunction(criterion)
    raise TypeError(
        "criterion must be a name, an object with .score, a function (name, weight) -> scores or "
        f"(weight) -> scores, or a mapping of parameter names to scores, not {criterion!r}"
    )


def _takes_two(function: Callable[..., Any]) -> bool:
    """Return whether `function` must be given two arguments."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        # torch's own functions have no signature; those of one tensor are meant.
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters) == 2
