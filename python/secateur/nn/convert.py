"""Swapping modules in a model, all or nothing. What is worth swapping is decided in planning."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping

from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod

from secateur.nn.attention import SparseMultiheadAttention
from secateur.nn.sparse_layer import SparseLayer

HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
# Attributes that send a module past its children, to a fused path that reads dense weights.
FUSED: Mapping[type[nn.Module], tuple[str, object]] = {
    nn.TransformerEncoderLayer: ("activation_relu_or_gelu", 0),
    nn.TransformerEncoder: ("use_nested_tensor", False),
}
_BEFORE = "_secateur_fused_path"

Undo = Callable[[], None]


def swap(model: nn.Module, swaps: Mapping[nn.Module, nn.Module], *, inplace: bool) -> nn.Module:
    """Return `model` with every module that is a key of `swaps` replaced, wherever it is used.

    Hooks on a replaced module move to its replacement. Fused paths of nn.TransformerEncoderLayer
    and nn.TransformerEncoder around a sparse layer are switched off.

    Args:
        model: left as it is with inplace=False; also if an exception is raised.
        swaps: old module to new module.
        inplace: change `model` itself; otherwise a copy in which the replaced modules are never
            copied first.

    Raises:
        ValueError: if inplace and the model itself is to be replaced.
        TypeError: if the model cannot be copied.
    """
    for old, new in swaps.items():
        carry_hooks(old, new, share=inplace)
    if not inplace:
        try:
            swapped = copied(model, {id(old): new for old, new in swaps.items()})
        except TypeError as error:
            raise TypeError(f"model: {error}; use inplace=True") from error
        settle(swapped)
        return swapped
    if model in swaps:
        raise ValueError(
            "inplace: the model is itself the layer to be swapped, and has no parent to hold "
            "another one; use inplace=False and take the result"
        )
    undo: list[Undo] = []
    try:
        for parent in list(model.modules()):
            for key, child in parent._modules.items():
                if child is not None and child in swaps:
                    parent._modules[key] = swaps[child]
                    undo.append(_restore(parent, key, child))
        settle(model)
    except BaseException:
        for step in reversed(undo):
            step()
        raise
    return model


def _restore(parent: nn.Module, key: str, child: nn.Module) -> Undo:
    return lambda: parent._modules.__setitem__(key, child)


def copied(model: nn.Module, memo: dict[int, object]) -> nn.Module:
    """Return a deep copy of `model` in which some objects are replaced, and never copied.

    Args:
        model: left as it is.
        memo: replacement of a module or tensor, by the id of what it replaces.

    Raises:
        TypeError: if the model cannot be copied.
    """
    # deepcopy takes what its memo holds for an object instead of copying the object.
    memo = dict(memo)
    for module in model.modules():
        for value in module.__dict__.values():
            # torch.nn.utils.prune leaves its products, which deepcopy refuses, as attributes.
            if isinstance(value, Tensor) and value.grad_fn is not None:
                memo.setdefault(id(value), value.detach().clone())
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise TypeError(f"{type(model).__name__} cannot be copied: {error}") from error


def carry_hooks(old: nn.Module, new: nn.Module, *, share: bool) -> None:
    """Give `new` the hooks of `old`; those that put a mask on its weight stay behind with it.

    Args:
        old: has the hooks.
        new: gets them.
        share: as one dict, so that the handles the user holds still remove them.
    """
    for name in HOOKS:
        hooks = getattr(old, name)
        left = [key for key, hook in hooks.items() if _puts_a_mask_on(hook)]
        if left:
            setattr(new, name, type(hooks)((k, h) for k, h in hooks.items() if k not in left))
        elif hooks:
            setattr(new, name, hooks if share else copy.copy(hooks))


def _puts_a_mask_on(hook: object) -> bool:
    return isinstance(hook, BasePruningMethod) or getattr(hook, "of_the_dense_weight", False)


def settle(model: nn.Module) -> None:
    """Switch fused paths off around sparse layers, and back on where none is left."""
    for module in model.modules():
        for kind, (attribute, off) in FUSED.items():
            if not isinstance(module, kind):
                continue
            if any(True for _ in sparse_modules(module)):
                if not hasattr(module, _BEFORE):
                    setattr(module, _BEFORE, getattr(module, attribute, off))
                setattr(module, attribute, off)
            elif hasattr(module, _BEFORE):
                setattr(module, attribute, getattr(module, _BEFORE))
                delattr(module, _BEFORE)


def sparse_modules(model: nn.Module) -> Iterator[tuple[str, SparseLayer]]:
    """Yield (name, layer) for each sparse layer of `model`, each once."""
    for name, module in model.named_modules():
        if isinstance(module, SparseLayer):
            yield name, module


def to_dense(model: nn.Module) -> nn.Module:
    """Return a copy of `model` with torch's own layers for its sparse ones.

    Zeros stay zeros; a layer that was a Conv1D comes back as the nn.Linear it equals.

    Args:
        model: left as it is.
    """
    swaps: dict[nn.Module, nn.Module] = {}
    for module in model.modules():
        if isinstance(module, SparseMultiheadAttention | SparseLayer):
            swaps[module] = module.to_dense()
    return swap(model, swaps, inplace=False)
