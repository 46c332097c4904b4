"""Which weights of a model are meant, and each of them as a matrix [out, in].

The only place that knows how a module lays out its weight.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

Layout = Literal["out_in", "in_out", "conv"]
Selector: TypeAlias = "str | type[nn.Module] | Callable[[str, nn.Module], bool]"
Selectors: TypeAlias = "Selector | Sequence[Selector]"


@dataclass(frozen=True, eq=False)
class Target:
    """One weight of one module.

    Attributes:
        name: the module's name in the model; "" if the model is the module.
        module: the module.
        parameter: the weight's name in the module.
        layout: how the weight's dimensions are meant.
    """

    name: str
    module: nn.Module
    parameter: str
    layout: Layout

    @property
    def key(self) -> str:
        """The parameter's name in the model, as in its state_dict."""
        return f"{self.name}.{self.parameter}" if self.name else self.parameter

    @property
    def weight(self) -> nn.Parameter:
        """The parameter, in its own shape."""
        weight = self.module._parameters[self.parameter]
        assert weight is not None
        return weight

    @property
    def matrix(self) -> Tensor:
        """The weight as [out, in], detached."""
        return self.to_matrix(self.weight.detach())

    def to_matrix(self, tensor: Tensor) -> Tensor:
        """Return `tensor`, shaped like the parameter, as [out, in].

        A convolution's [O, I/g, kh, kw] becomes [O, kh * kw * I/g], the channel fastest: the order
        in which kernels over channels-last pixels read it.
        """
        if self.layout == "conv":
            return tensor.movedim(1, -1).flatten(1)
        return tensor.T if self.layout == "in_out" else tensor

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """Return `matrix`, [out, in], in the parameter's own shape."""
        if self.layout == "conv":
            out, channels, *kernel = self.weight.shape
            return matrix.reshape(out, *kernel, channels).movedim(-1, 1)
        return matrix.T if self.layout == "in_out" else matrix


def select(
    model: nn.Module, targets: Selectors | None = None, ignore: Selectors = ()
) -> dict[str, Target]:
    """Return the weights that `targets` means and `ignore` does not, by parameter name.

    A selector is an exact name, of a module or a parameter | a glob, whose * crosses dots |
    "re:" and a regular expression matched from the start of the name | a module class |
    a predicate (name, module) -> bool.

    Args:
        model: any module; it may itself be the layer.
        targets: selectors. None means every nn.Linear, nn.Conv2d, Hugging Face Conv1D and the
            projections of nn.MultiheadAttention. nn.Conv1d and nn.Conv3d must be asked for.
        ignore: selectors; they win. A weight that several modules share is ignored when any
            module that holds it is.

    Returns:
        the targets in the model's order; a weight that several modules share appears once.

    Raises:
        TypeError: if a selector is none of these.
        ValueError: if a selector matches nothing, nothing is left, or a weight meant cannot be
            pruned.
    """
    candidates = list(_candidates(model))
    ignored = _ignored_parameters(model, _listed(ignore))
    if targets is None:
        chosen = [c for c in candidates if not isinstance(c.module, nn.Conv1d | nn.Conv3d)]
    else:
        chosen = _chosen(model, candidates, _listed(targets))
    found: dict[str, Target] = {}
    seen = set(ignored)
    for target in chosen:
        parameter = target.module._parameters.get(target.parameter)
        if id(parameter) in seen or (parameter is None and id(target.module) in seen):
            continue
        _check(target)
        seen.add(id(parameter))
        found[target.key] = target
    if not found:
        raise ValueError(
            f"nothing to prune: targets={targets!r} and ignore={ignore!r} leave no layer; "
            f"the model's prunable layers are {_some([c.name for c in candidates])}"
        )
    return found


def _candidates(model: nn.Module) -> Iterator[Target]:
    for name, module in model.named_modules():
        for parameter, layout in _weights(module):
            yield Target(name, module, parameter, layout)


def _weights(module: nn.Module) -> list[tuple[str, Layout]]:
    """Return the prunable weights of a module and how they are laid out."""
    if isinstance(module, nn.MultiheadAttention):
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        return [(name, "out_in") for name in names if module._parameters.get(name) is not None]
    if isinstance(module, nn.Linear):
        return [("weight", "out_in")]
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return [("weight", "conv")]
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        return [("weight", "in_out")]
    return []


def _chosen(
    model: nn.Module, candidates: list[Target], selectors: Sequence[Selector]
) -> list[Target]:
    chosen: set[int] = set()
    for selector in selectors:
        matches = _matcher(selector)
        hits = {
            i
            for i, c in enumerate(candidates)
            if matches(c.name, c.module) or (isinstance(selector, str) and matches(c.key, c.module))
        }
        if not hits:
            raise ValueError(_nothing_matched("targets", selector, model, candidates))
        chosen |= hits
    return [candidates[i] for i in sorted(chosen)]


def _ignored_parameters(model: nn.Module, selectors: Sequence[Selector]) -> set[int]:
    """Return ids of the parameters, and of the modules, that the selectors match."""
    ignored: set[int] = set()
    for selector in selectors:
        matches = _matcher(selector)
        before = len(ignored)
        hit = False
        for name, module in model.named_modules():
            whole = matches(name, module)
            hit |= whole
            if whole:
                ignored.add(id(module))
            for local, parameter in module._parameters.items():
                key = f"{name}.{local}" if name else local
                if whole or (isinstance(selector, str) and matches(key, module)):
                    hit = True
                    ignored.add(id(parameter))
        if not hit and len(ignored) == before:
            raise ValueError(_nothing_matched("ignore", selector, model, list(_candidates(model))))
    return ignored


def _matcher(selector: Selector) -> Callable[[str, nn.Module], bool]:
    if isinstance(selector, type):
        kind = selector
        return lambda name, module: isinstance(module, kind)
    if isinstance(selector, str):
        if selector.startswith("re:"):
            try:
                pattern = re.compile(selector[3:])
            except re.error as error:
                raise ValueError(
                    f"selector {selector!r} is no regular expression: {error}"
                ) from None
            return lambda name, module: pattern.match(name) is not None
        glob = selector
        return lambda name, module: name == glob or fnmatchcase(name, glob)
    if callable(selector):
        return selector
    raise TypeError(
        "a selector is a name, a glob, 're:...', a module class or a predicate (name, module) -> "
        f"bool, not {selector!r}"
    )


def _listed(selectors: Selectors) -> Sequence[Selector]:
    if isinstance(selectors, str | type) or callable(selectors):
        return (selectors,)
    return selectors


def _nothing_matched(
    argument: str, selector: Selector, model: nn.Module, candidates: Iterable[Target]
) -> str:
    matches = _matcher(selector)
    others = {type(m).__name__ for name, m in model.named_modules() if name and matches(name, m)}
    names = [candidate.name for candidate in candidates]
    if others:
        return (
            f"{argument}: {selector!r} matches only {', '.join(sorted(others))}, which has no "
            "weight to prune itself; to mean the layers inside, use a glob such as "
            f"'name.*'. Prunable here: {_some(names)}"
        )
    near = difflib.get_close_matches(selector, names, 5, 0.5) if isinstance(selector, str) else []
    return f"{argument}: {selector!r} matches nothing; near it: {_some(near or names)}"


def _some(names: Sequence[str], most: int = 8) -> str:
    if not names:
        return "none"
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def _check(target: Target) -> None:
    """Raise ValueError if the weight cannot be pruned as it is, with the way out."""
    weight = target.module._parameters.get(target.parameter)
    ignoring = f"or leave it out with ignore=[{target.name!r}]"
    if weight is None:
        raise ValueError(
            f"{target.key!r} is not a parameter of its module: something has reparametrised it. "
            "Undo that first (torch.nn.utils.prune.remove, "
            f"torch.nn.utils.parametrize.remove_parametrizations), {ignoring}"
        )
    if isinstance(weight, nn.parameter.UninitializedParameter):
        raise ValueError(f"{target.key!r} has no shape yet: run the model once, {ignoring}")
    if not weight.is_floating_point():
        raise ValueError(f"{target.key!r} is {weight.dtype}, not floating point; {ignoring[3:]}")
    if weight.is_meta:
        raise ValueError(f"{target.key!r} is on the meta device: load its values first, {ignoring}")
    if weight.layout != torch.strided:
        raise ValueError(f"{target.key!r} is stored as {weight.layout}, not dense; {ignoring[3:]}")
