"""The words for layers: exact name | glob | "re:..." | module class | predicate."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from torch import nn

Selector: TypeAlias = "str | type[nn.Module] | Callable[[str, nn.Module], bool]"
Selectors: TypeAlias = "Selector | Sequence[Selector]"


def listed(selectors: Selectors) -> Sequence[Selector]:
    """Return `selectors` as a sequence, also if it is a single one."""
    if isinstance(selectors, str | type) or callable(selectors):
        return (selectors,)
    return selectors


def matcher(selector: Selector) -> Callable[[str, nn.Module], bool]:
    """Return the predicate (name, module) -> bool that `selector` stands for.

    A glob's * crosses dots; a regular expression is matched from the start of the name.

    Raises:
        TypeError: if it is no selector.
        ValueError: if it is a malformed regular expression.
    """
    if isinstance(selector, type):
        kind = selector
        return lambda name, module: isinstance(module, kind)
    if not isinstance(selector, str):
        if callable(selector):
            return selector
        raise TypeError(
            "a selector is a name, a glob, 're:...', a module class or a predicate "
            f"(name, module) -> bool, not {selector!r}"
        )
    if selector.startswith("re:"):
        try:
            pattern = re.compile(selector[3:])
        except re.error as error:
            raise ValueError(f"selector {selector!r} is no regular expression: {error}") from None
        return lambda name, module: pattern.match(name) is not None
    glob = selector
    # The name itself first: a name with brackets is no glob.
    return lambda name, module: name == glob or fnmatchcase(name, glob)


def matches_parameter(selector: Selector, key: str, module: nn.Module) -> bool:
    """Return whether `selector` is a string that means the parameter `key` of `module`."""
    return isinstance(selector, str) and matcher(selector)(key, module)


def nothing_matched(
    argument: str, selector: Selector, model: nn.Module, names: Sequence[str]
) -> str:
    """Return what to say when a selector means none of the layers called `names`."""
    matches = matcher(selector)
    others = {type(m).__name__ for name, m in model.named_modules() if name and matches(name, m)}
    if others:
        inside = f"{selector}.*" if isinstance(selector, str) else "name.*"
        return (
            f"{argument}: {selector!r} matches only {', '.join(sorted(others))}, with no weight "
            f"to prune of its own. To mean the layers inside, use the glob {inside!r}; the "
            f"prunable layers are {some(names)}"
        )
    near = difflib.get_close_matches(selector, names, 5, 0.5) if isinstance(selector, str) else []
    return f"{argument}: {selector!r} matches nothing; " + (
        f"near it: {some(near)}" if near else f"the prunable layers are {some(names)}"
    )


def some(names: Sequence[str], most: int = 8) -> str:
    """Return the names in quotes, at most `most` of them, or "none"."""
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more if names else "none"
