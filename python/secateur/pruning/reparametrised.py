"""Weights that another library has put behind a mask, read through it or made plain.

torch.nn.utils.prune keeps `weight_orig` and `weight_mask` and multiplies them in a forward
pre-hook; torch.ao.pruning registers a FakeSparsity parametrisation.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod


@torch.no_grad()
def current(module: nn.Module, name: str) -> Tensor | None:
    """Return the tensor `name` as the module's next forward pass will see it, detached.

    The attribute that torch.nn.utils.prune leaves is as old as the last forward pass.
    """
    masked = _masked_by_torch(module, name)
    if masked is not None:
        original, mask = masked
        return torch.where(mask != 0, original, torch.zeros_like(original)).detach()
    tensor = getattr(module, name, None)
    return tensor.detach() if isinstance(tensor, Tensor) else None


def mask_of(module: nn.Module, name: str) -> Tensor | None:
    """Return the mask, bool and true where kept, that stands before the tensor; None if none."""
    masked = _masked_by_torch(module, name)
    if masked is not None:
        return masked[1] != 0
    if not parametrize.is_parametrized(module, name):
        return None
    stages = list(module.parametrizations[name])  # type: ignore[index]
    if not stages or any(type(stage).__name__ != "FakeSparsity" for stage in stages):
        return None
    masks = [stage.mask != 0 for stage in stages]
    return masks[0] if len(masks) == 1 else torch.stack(masks).all(0)


def masked(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield (parameter's name in the model, module, its name there) of all that has a mask."""
    for prefix, module in model.named_modules():
        names = [n.removesuffix("_orig") for n in module._parameters if n.endswith("_orig")]
        if parametrize.is_parametrized(module):
            names += list(module.parametrizations)
        for name in names:
            if mask_of(module, name) is not None:
                yield (f"{prefix}.{name}" if prefix else name), module, name


def _masked_by_torch(module: nn.Module, name: str) -> tuple[Tensor, Tensor] | None:
    original = module._parameters.get(f"{name}_orig")
    mask = module._buffers.get(f"{name}_mask")
    return None if original is None or mask is None else (original, mask)


def make_plain(module: nn.Module, name: str) -> None:
    """Make the tensor `name` that `mask_of` has a mask for a parameter of that name, in place.

    It is the parameter that optimizers hold already. What is removed may be -0.0.
    """
    if _masked_by_torch(module, name) is None:
        parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        return
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            del module._forward_pre_hooks[key]
    original = module._parameters.pop(f"{name}_orig")
    del module._buffers[f"{name}_mask"]
    module.__dict__.pop(name, None)
    module.register_parameter(name, original)
