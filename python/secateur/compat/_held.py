"""Where the masks of this door live: beside the parameter, in a buffer that no state_dict has.

The parameter keeps its name and stays a leaf. Masks are bool, one byte a weight, true where kept;
they move with `.to(device)`, and are copied and pickled with their module.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from secateur.pruning._shards import Parts, here

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Reapply:
    """Before its module runs, sets one parameter's removed weights to zero again.

    So a loop that knows nothing of masks never computes with a weight that an optimizer has
    brought back; between its step and the next forward pass the parameter may hold one.

    Args:
        name: the parameter's name in the module.
    """

    # Whoever replaces the module leaves this hook behind with the weight.
    of_the_dense_weight = True

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: nn.Module, inputs: object) -> None:
        """Zero what is removed; a graph that is being exported is left as it is."""
        if not torch.compiler.is_exporting():
            zero_(module, self.name)


def mask_of(module: nn.Module, name: str) -> Tensor | None:
    """Return the mask held for the parameter `name` of `module` itself, or None."""
    return module._buffers.get(f"{name}_mask") if _hook(module, name) is not None else None


def hold(module: nn.Module, name: str, mask: Tensor) -> None:
    """Hold `mask`, bool and shaped like the parameter, and zero what it removes, in place.

    A mask that is held already changes in place: whoever has it sees the new one.
    """
    held = mask_of(module, name)
    if held is not None:
        held.copy_(mask)
    else:
        module.register_buffer(f"{name}_mask", mask.contiguous(), persistent=False)
        module.register_forward_pre_hook(Reapply(name))
    zero_(module, name)


def release(module: nn.Module, name: str) -> None:
    """Zero what is removed a last time, and forget the mask."""
    zero_(module, name)
    key = _hook(module, name)
    if key is not None:
        del module._forward_pre_hooks[key]
        del module._buffers[f"{name}_mask"]
        module._non_persistent_buffers_set.discard(f"{name}_mask")


def held(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield (module's name, module, parameter's name) of every mask that is held in `model`."""
    for prefix, module in model.named_modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, Reapply) and mask_of(module, hook.name) is not None:
                yield prefix, module, hook.name


@torch.no_grad()
def zero_(module: nn.Module, name: str) -> None:
    """Set the removed weights of a parameter to +0.0; without a mask, do nothing."""
    parameter, mask = module._parameters.get(name), module._buffers.get(f"{name}_mask")
    if parameter is None or mask is None:
        return
    # .data: a module may run twice before the backward pass, and has not changed in between. Bits,
    # because a product of floats makes NaN of inf * 0.
    bits = here(parameter).data.view(_INTEGERS[parameter.element_size()])
    bits.mul_(Parts().of(mask, name, parameter))


def _hook(module: nn.Module, name: str) -> int | None:
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, Reapply) and hook.name == name:
            return key
    return None
