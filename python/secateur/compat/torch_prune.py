"""torch.nn.utils.prune under its own names: change the import, keep the code.

>>> from torch import nn
>>> from secateur.compat import torch_prune as prune
>>> layer = prune.l1_unstructured(nn.Linear(8, 4), "weight", amount=0.5)
>>> int(layer.weight_mask.sum()), sorted(layer.state_dict())
(16, ['bias', 'weight'])

The masks are torch's, bit for bit, wherever the scores differ; of equal scores the lowest index is
kept, where torch (whose topk has no order among equals) keeps any. `amount` is a fraction if it is
a float, a count if it is an int; a second call prunes among what is left. Under the same
torch.manual_seed random masks of float32 weights on the CPU are torch's too.

What differs:

- The parameter keeps its name and stays a leaf: there is no `weight_orig`. state_dict, optimizers,
  copy.deepcopy, weight tying and torch.compile go on as before.
- Removed weights are zero in the parameter itself, and their old values are gone.
- `weight_mask` is bool, and no part of state_dict; a loaded model has its zeros, not its masks.
- An optimizer may write to a removed weight; the next forward pass of the module, `remove` and
  `masks(model).apply_()` set it to zero again. `masks(model).attached(optimizer)` does so at
  every step, with the optimizer's memory and before clipping.
- A mask is held once, whatever it was made by, and a generator can be given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod as _TorchsMethod

from secateur.compat import _held
from secateur.compat._combine import combined_across, scores
from secateur.compat._methods import (
    BasePruningMethod,
    CustomFromMask,
    Identity,
    L1Unstructured,
    LnStructured,
    RandomStructured,
    RandomUnstructured,
)
from secateur.pruning.masks import Masks

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "masks",
    "random_structured",
    "random_unstructured",
    "remove",
]


def l1_unstructured(
    module: nn.Module, name: str, amount: float, importance_scores: Tensor | None = None
) -> nn.Module:
    """Remove the weights of the least absolute value, in place.

    Args:
        module: holds the parameter itself.
        name: of the parameter in the module, for example "weight".
        amount: of what is left: a float in [0, 1] is a fraction, an int a count.
        importance_scores: shaped like the parameter; judged in its place.

    Returns:
        the module.

    Raises:
        TypeError: if `amount` is no number.
        ValueError: if it is out of range, or the parameter cannot be pruned; the module is then
            as it was.
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_unstructured(
    module: nn.Module, name: str, amount: float, *, generator: torch.Generator | None = None
) -> nn.Module:
    """Remove weights drawn uniformly, in place; see `l1_unstructured`.

    Args:
        module: as there.
        name: as there.
        amount: as there.
        generator: where the draws come from; None: torch's default one.
    """
    RandomUnstructured.apply(module, name, amount=amount, generator=generator)
    return module


def ln_structured(
    module: nn.Module,
    name: str,
    amount: float,
    n: float | str,
    dim: int,
    importance_scores: Tensor | None = None,
) -> nn.Module:
    """Remove the channels along `dim` whose Ln norm is smallest, in place; see `l1_unstructured`.

    Args:
        module: as there.
        name: as there.
        amount: as there, of the channels that are not removed throughout.
        n: the order of the norm as in torch.norm: any number, inf, -inf, "fro", "nuc".
        dim: the dimension that counts channels; 0 is the outputs.
        importance_scores: as there.

    Raises:
        IndexError: if the parameter has no dimension `dim`.
    """
    LnStructured.apply(
        module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores
    )
    return module


def random_structured(
    module: nn.Module,
    name: str,
    amount: float,
    dim: int,
    *,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Remove channels along `dim` drawn uniformly, in place; see `ln_structured`.

    Args:
        module: as there.
        name: as there.
        amount: as there.
        dim: as there.
        generator: where the draws come from; None: torch's default one.
    """
    RandomStructured.apply(module, name, amount=amount, dim=dim, generator=generator)
    return module


def global_unstructured(
    parameters: Iterable[tuple[nn.Module, str]],
    pruning_method: type,
    importance_scores: Mapping[tuple[nn.Module, str], Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Remove from all of `parameters` together, in place.

    For `L1Unstructured` the parameters are never joined: one is held at a time. One that two
    modules share counts once, and both hold its mask.

    Args:
        parameters: pairs (module, name).
        pruning_method: `L1Unstructured`, `RandomUnstructured`, or any class whose PRUNING_TYPE
            is "unstructured".
        importance_scores: by pair; a parameter without any is judged by itself.
        kwargs: for the method: `amount`, a fraction or a count of all that is left, `generator`.

    Raises:
        TypeError: if `parameters` or the method is of the wrong kind.
        ValueError: as `l1_unstructured`; then every module is as it was.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError(f"parameters must be pairs (module, name), not {parameters!r}")
    if not isinstance(importance_scores, Mapping | None):
        raise TypeError("importance_scores must be a dict by pairs (module, name)")
    method = pruning_method(**kwargs)
    if getattr(method, "PRUNING_TYPE", None) != "unstructured":
        raise TypeError(
            f'pruning_method must be one whose PRUNING_TYPE is "unstructured", not {pruning_method}'
        )
    given = importance_scores or {}
    groups: dict[int, list[tuple[nn.Module, str]]] = {}
    judged: dict[int, Tensor] = {}
    for module, name in parameters:
        t = scores(module, name, given.get((module, name)))
        key = id(module._parameters[name])
        groups.setdefault(key, []).append((module, name))
        judged.setdefault(key, t)
    made = combined_across(
        method, list(judged.values()), [_left_of(pairs) for pairs in groups.values()]
    )
    for pairs, mask in zip(groups.values(), made, strict=True):
        for module, name in dict.fromkeys(pairs):
            _held.hold(module, name, mask.clone())


def custom_from_mask(module: nn.Module, name: str, mask: Tensor) -> nn.Module:
    """Remove the weights where `mask` is 0, in place; see `l1_unstructured`.

    Args:
        module: as there.
        name: as there.
        mask: shaped like the parameter. What is removed already stays removed.
    """
    CustomFromMask.apply(module, name, mask)
    return module


def identity(module: nn.Module, name: str) -> nn.Module:
    """Hold a mask that removes nothing; see `l1_unstructured`."""
    Identity.apply(module, name)
    return module


def remove(module: nn.Module, name: str) -> nn.Module:
    """Forget the mask of a parameter, in place; the zeros stay until something trains them.

    Raises:
        ValueError: if there is none.
    """
    if _held.mask_of(module, name) is None:
        raise ValueError(
            f"parameter {name!r} of {type(module).__name__} is not pruned, so there is no mask to "
            "remove"
        )
    _held.release(module, name)
    return module


def is_pruned(module: nn.Module) -> bool:
    """Tell whether a mask is held in `module` or inside it, be it by torch.nn.utils.prune."""
    by_torch = any(
        isinstance(hook, _TorchsMethod)
        for inner in module.modules()
        for hook in inner._forward_pre_hooks.values()
    )
    return by_torch or any(True for _ in _held.held(module))


def masks(model: nn.Module) -> Masks:
    """Return the masks held in `model`, by parameter name, for `Masks.attached` and `apply_`.

    They are the same tensors: pruning more shows in them at once.

    Raises:
        ValueError: if there are none.
    """
    found = {}
    for prefix, module, name in _held.held(model):
        mask = _held.mask_of(module, name)
        assert mask is not None
        found[f"{prefix}.{name}" if prefix else name] = mask
    if not found:
        raise ValueError("nothing in this model is pruned by secateur.compat.torch_prune")
    return Masks(found, model)


def _left_of(pairs: list[tuple[nn.Module, str]]) -> Tensor:
    """Return what is left of one parameter, whichever modules hold masks of it; bool."""
    module, name = pairs[0]
    weight = module._parameters[name]
    assert weight is not None
    left = torch.ones(weight.shape, dtype=torch.bool, device=weight.device)
    for holder, called in pairs:
        mask = _held.mask_of(holder, called)
        left = left if mask is None else left & mask
    return left
