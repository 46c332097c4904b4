"""Which modules `targets` and `ignore` mean. The words are those of secateur.pruning.selectors.

Unlike there, a layer whose weight something has reparametrised may be meant: it can be converted.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from secateur.pruning.selectors import Selectors, listed, matcher, matches_parameter, some


def meant(
    model: nn.Module, targets: Selectors | None, ignore: Selectors
) -> Callable[[nn.Module], bool]:
    """Return a function that tells whether a module, or one inside it, is meant.

    Args:
        model: whose names the selectors use.
        targets: selectors; None means every module.
        ignore: selectors that win.

    Raises:
        ValueError: if a selector matches nothing.
        TypeError: if a selector is none.
    """
    ignored = _hits(model, "ignore", ignore)
    chosen = None if targets is None else _hits(model, "targets", targets)

    def wanted(module: nn.Module) -> bool:
        own = set(map(id, module.modules()))
        return not own & ignored and (chosen is None or bool(own & chosen))

    return wanted


def _hits(model: nn.Module, argument: str, selectors: Selectors) -> set[int]:
    hits: set[int] = set()
    for selector in listed(selectors):
        matches = matcher(selector)
        found = set()
        for name, module in model.named_modules(remove_duplicate=False):
            keys = [f"{name}.{p}" if name else p for p in module._parameters]
            by_key = any(matches_parameter(selector, key, module) for key in keys)
            if matches(name, module) or by_key:
                found.add(id(module))
        if not found:
            names = [name for name, module in model.named_modules() if module._parameters]
            raise ValueError(
                f"{argument}: {selector!r} matches nothing; the model's layers are {some(names)}"
            )
        hits |= found
    return hits
