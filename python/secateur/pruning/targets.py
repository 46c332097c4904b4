"""Which weights of a model are meant, and each of them as a matrix [out, in].

The only place that knows how a module lays out its weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from secateur.pruning import reparametrised
from secateur.pruning._shards import whole
from secateur.pruning.selectors import (
    Selector,
    Selectors,
    listed,
    matcher,
    matches_parameter,
    nothing_matched,
    some,
)
from secateur.pruning.shape import Shape

Layout = Literal["out_in", "in_out", "conv", "flat"]


@dataclass(frozen=True, eq=False)
class Target:
    """One weight of one module.

    Attributes:
        name: the module's name in the model; "" if the model is the module.
        module: the module.
        parameter: the weight's name in the module.
        layout: how the weight's dimensions are meant; "flat" is a parameter of no such kind, which
            no pattern runs over.
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
        """The parameter, in its own shape; what it is now, if something has reparametrised it."""
        weight: Any = self.module._parameters.get(self.parameter)
        if weight is None:
            weight = reparametrised.current(self.module, self.parameter)
        assert weight is not None
        found: nn.Parameter = weight
        return found

    @property
    def matrix(self) -> Tensor:
        """The weight as [out, in], detached; of a DTensor, all of it."""
        return self.to_matrix(whole(self.weight))

    @property
    def shape(self) -> Shape:
        """The shape of the matrix, and what its rows and columns stand for."""
        size = self.weight.shape
        if self.layout == "conv":
            taps = size[2:].numel()
            groups = getattr(self.module, "groups", 1)
            return Shape(size[0], size[1] * taps, taps, groups)
        rows, columns = size if self.layout == "out_in" else size[::-1]
        if isinstance(self.module, nn.MultiheadAttention):
            stacked = 3 if self.parameter == "in_proj_weight" else 1
            return Shape(rows, columns, heads=self.module.num_heads, stacked=stacked)
        return Shape(rows, columns)

    def to_matrix(self, tensor: Tensor) -> Tensor:
        """Return `tensor`, shaped like the parameter, as [out, in].

        A convolution's [O, I/g, kh, kw] becomes [O, kh * kw * I/g], the channel fastest: the order
        in which kernels over channels-last pixels read it.
        """
        if self.layout == "conv":
            return tensor.movedim(1, -1).flatten(1)
        if self.layout == "flat":
            return tensor.reshape(1, -1)
        return tensor.T if self.layout == "in_out" else tensor

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """Return `matrix`, [out, in], in the parameter's own shape."""
        if self.layout == "conv":
            out, channels, *kernel = self.weight.shape
            return matrix.reshape(out, *kernel, channels).movedim(-1, 1)
        if self.layout == "flat":
            return matrix.reshape(self.weight.shape)
        return matrix.T if self.layout == "in_out" else matrix


def named(model: nn.Module, keys: Iterable[str]) -> dict[str, Target]:
    """Return the parameters of these names, to look at: whatever has been masked, biases too.

    Raises:
        ValueError: if there is no such parameter, or it has no values.
    """
    known = {candidate.key: candidate for candidate in candidates(model)}
    modules = dict(model.named_modules(remove_duplicate=False))
    found: dict[str, Target] = {}
    for key in keys:
        prefix, _, local = key.rpartition(".")
        target = known.get(key)
        if target is None and isinstance(getattr(modules.get(prefix), local, None), Tensor):
            target = Target(prefix, modules[prefix], local, "flat")
        if target is None:
            raise ValueError(f"the model has no parameter {key!r}, which is masked")
        _check(target, looking=True)
        found[key] = target
    return found


def select(
    model: nn.Module,
    targets: Selectors | None = None,
    ignore: Selectors = (),
    *,
    looking: bool = False,
) -> dict[str, Target]:
    """Return the weights that `targets` means and `ignore` does not, by parameter name.

    A selector is an exact name, of a module or a parameter | a glob, whose * crosses dots |
    "re:" and a regular expression matched from the start of the name | a module class |
    a predicate (name, module) -> bool. Each must match something.

    Args:
        model: any module; it may itself be the layer.
        targets: selectors. None means every nn.Linear, nn.Conv2d, Hugging Face Conv1D and the
            projections of nn.MultiheadAttention. nn.Conv1d and nn.Conv3d must be asked for.
        ignore: selectors; they win. A weight that several modules share is ignored when any
            module that holds it is.
        looking: whether the weights are only to be read: then one that something else has
            reparametrised may be meant.

    Returns:
        the targets in the model's order; a weight that several modules share appears once.

    Raises:
        TypeError: if a selector is none of these.
        ValueError: if a selector matches nothing, nothing is left, or a weight meant cannot be
            pruned.
    """
    every = list(candidates(model))
    ignored = ignored_ids(model, listed(ignore), every)
    if targets is None:
        chosen = [c for c in every if not isinstance(c.module, nn.Conv1d | nn.Conv3d)]
    else:
        chosen = chosen_by(model, every, listed(targets))
    found: dict[str, Target] = {}
    seen: set[int] = set()
    for target in chosen:
        parameter = _stored(target)
        if {id(target.module), id(parameter)} & ignored or id(parameter) in seen:
            continue
        _check(target, looking)
        seen.add(id(parameter))
        found[target.key] = target
    if not found:
        raise ValueError(
            f"nothing to prune: targets={targets!r} and ignore={ignore!r} leave no layer; the "
            f"prunable layers are {some([c.name for c in every])}"
        )
    return found


def candidates(model: nn.Module) -> Iterator[Target]:
    """Yield every weight of a kind that can be pruned; a shared one under each of its names."""
    for name, module in model.named_modules(remove_duplicate=False):
        for parameter, layout in _weights(module):
            yield Target(name, module, parameter, layout)


def _weights(module: nn.Module) -> list[tuple[str, Layout]]:
    """Return the prunable weights of a module and how they are laid out."""
    if isinstance(module, nn.MultiheadAttention):
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        return [(name, "out_in") for name in names if getattr(module, name, None) is not None]
    if isinstance(module, nn.Linear):
        return [("weight", "out_in")]
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return [("weight", "conv")]
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        return [("weight", "in_out")]
    return []


def chosen_by(
    model: nn.Module, candidates: list[Target], selectors: Sequence[Selector]
) -> list[Target]:
    """Return the candidates that the selectors mean; raise ValueError if one means none."""
    chosen: set[int] = set()
    for selector in selectors:
        matches = matcher(selector)
        hits = {
            i
            for i, c in enumerate(candidates)
            if matches(c.name, c.module) or matches_parameter(selector, c.key, c.module)
        }
        if not hits:
            names = [c.name for c in candidates]
            raise ValueError(nothing_matched("targets", selector, model, names))
        chosen |= hits
    return [candidates[i] for i in sorted(chosen)]


def ignored_ids(
    model: nn.Module, selectors: Sequence[Selector], candidates: list[Target]
) -> set[int]:
    """Return the ids of the modules and of the parameters that the selectors match."""
    ignored: set[int] = set()
    for selector in selectors:
        matches = matcher(selector)
        hits: set[int] = set()
        for name, module in model.named_modules(remove_duplicate=False):
            whole = matches(name, module)
            if whole:
                hits.add(id(module))
            for local, parameter in module._parameters.items():
                key = f"{name}.{local}" if name else local
                if parameter is not None and (whole or matches_parameter(selector, key, module)):
                    hits.add(id(parameter))
        if not hits:
            names = [c.name for c in candidates]
            raise ValueError(nothing_matched("ignore", selector, model, names))
        ignored |= hits
    return ignored


def _stored(target: Target) -> object:
    """Return the object that stands for the weight in its module; tied ones have it in common."""
    for name in (target.parameter, f"{target.parameter}_orig"):
        parameter = target.module._parameters.get(name)
        if parameter is not None:
            return parameter
    return getattr(target.module, "parametrizations", target.module)


def _check(target: Target, looking: bool = False) -> None:
    """Raise ValueError if the weight cannot be pruned as it is, with the way out."""
    weight: Tensor | None = target.module._parameters.get(target.parameter)
    if weight is None and looking:
        weight = target.weight
    ignoring = f"or leave it out with ignore=[{target.name!r}]"
    if weight is None:
        raise ValueError(
            f"{target.key!r} is not a parameter of its module: something has reparametrised it. "
            "Undo that first (secateur.compat.adopt(model), torch.nn.utils.prune.remove, "
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
