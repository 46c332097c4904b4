"""What a method is given to decide about, and what becomes of its answer: nothing is revived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateur.compat import _held


def combined(method: Any, t: Tensor, previous: Tensor | None) -> Tensor:
    """Return `previous` without what `method` removes from what is left; bool.

    Args:
        method: has PRUNING_TYPE and compute_mask.
        t: weights or scores.
        previous: the mask so far; None: nothing is removed yet.
    """
    if previous is None:
        everything = torch.ones(t.shape, dtype=torch.bool, device=t.device)
        kept: Tensor = method.compute_mask(t, default_mask=everything) != 0
        return kept
    where = _left(method, previous)
    mask = previous.clone()
    mask[where] = method.compute_mask(t[where], default_mask=previous[where]) != 0
    return mask & previous


def combined_across(method: Any, layers: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
    """Return `masks` without what `method` removes from all that is left together; bool."""
    if hasattr(method, "across"):
        return list(method.across(layers, masks))
    mask = combined(
        method,
        torch.cat([t.reshape(-1) for t in layers]),
        torch.cat([m.view(-1) for m in masks]),
    )
    parts = mask.split([m.numel() for m in masks])
    return [part.view(m.shape) for part, m in zip(parts, masks, strict=True)]


def scores(module: nn.Module, name: str, given: Tensor | None) -> Tensor:
    """Return what decides about the parameter `name` of `module`: it, or the scores given for it.

    Raises:
        ValueError: if it is no parameter that can be pruned, or the scores do not fit it.
    """
    kind = type(module).__name__
    if hasattr(module, f"{name}_orig") or hasattr(module, "parametrizations"):
        raise ValueError(
            f"{kind}.{name} is reparametrised (torch.nn.utils.prune, parametrizations); make it "
            "plain first: secateur.compat.adopt(module)"
        )
    parameter = module._parameters.get(name)
    if parameter is None:
        known = ", ".join(repr(n) for n, p in module._parameters.items() if p is not None) or "none"
        raise ValueError(f"{kind} has no parameter {name!r} to prune; it has {known}")
    if isinstance(parameter, nn.parameter.UninitializedParameter):
        raise ValueError(f"{kind}.{name} has no shape yet: run the model once")
    if parameter.is_meta or not parameter.is_floating_point():
        raise ValueError(
            f"{kind}.{name} is {parameter.dtype} on {parameter.device}, with no floats"
        )
    if hasattr(module, f"{name}_mask") and _held.mask_of(module, name) is None:
        raise ValueError(f"{kind} has a {name}_mask of its own; pruning would take its place")
    if given is not None and given.shape != parameter.shape:
        wanted, came = list(parameter.shape), list(given.shape)
        raise ValueError(f"importance_scores of {kind}.{name} must be {wanted}, not {came}")
    mask = _held.mask_of(module, name)
    t = parameter.detach() if given is None else given.detach()
    if given is None and mask is not None:
        # What an optimizer has brought back since has no say in the norm of its channel.
        t = torch.where(mask, t, torch.zeros((), dtype=t.dtype, device=t.device))
    if bool(t.isnan().any()):
        raise ValueError(f"{kind}.{name} has a NaN among its weights or scores; nothing is pruned")
    return t


def _left(method: Any, mask: Tensor) -> Any:
    """Return the index of what `method` is to decide about."""
    if method.PRUNING_TYPE == "unstructured":
        return mask
    if method.PRUNING_TYPE == "global":
        return ...
    if method.PRUNING_TYPE != "structured":
        raise ValueError(
            f'PRUNING_TYPE is "unstructured", "structured" or "global", not {method.PRUNING_TYPE!r}'
        )
    dim = method.dim % mask.dim()
    where: list[Any] = [slice(None)] * mask.dim()
    where[dim] = mask.sum([d for d in range(mask.dim()) if d != dim]) != 0
    return tuple(where)
