"""Weights that several processes hold in parts (torch's DTensor), met with masks that are whole.

Every process keeps the whole mask; what is decided is decided on the whole weight, by everyone
alike, and written to the part at hand. A plain tensor passes through untouched.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def whole(tensor: Tensor) -> Tensor:
    """Return all of `tensor`, detached; of a DTensor, gathered from the processes that hold it.

    For a DTensor every process of its mesh must call this, in the same order.
    """
    shared: Any = tensor.detach()
    gathered: Tensor = shared.full_tensor() if _is_shared_out(tensor) else shared
    return gathered


def here(tensor: Tensor) -> Tensor:
    """Return what this process holds of `tensor`, detached and sharing its memory."""
    shared: Any = tensor.detach()
    local: Tensor = shared.to_local() if _is_shared_out(tensor) else shared
    return local


def part_of(mask: Tensor, tensor: Tensor) -> Tensor:
    """Return the part of `mask`, whole, that belongs to what this process holds of `tensor`.

    Nothing is sent: the mask is the same everywhere already.
    """
    if not _is_shared_out(tensor):
        return mask
    from torch.distributed.tensor import DTensor, Replicate

    assert isinstance(tensor, DTensor)
    everywhere = [Replicate()] * tensor.device_mesh.ndim
    shared = DTensor.from_local(mask, tensor.device_mesh, everywhere, run_check=False)
    return shared.redistribute(placements=tensor.placements).to_local()


def settle(model: nn.Module) -> None:
    """Let FSDP drop the whole weights it keeps after a forward pass without a backward one.

    They are copies: what is written to them is lost, and what is written beside them not seen.
    """
    for module in model.modules():
        reshard = getattr(module, "reshard", None)
        if callable(reshard) and hasattr(module, "unshard"):
            reshard()


def _is_shared_out(tensor: Tensor) -> bool:
    # By its method: builds of torch without distributed have no DTensor to ask for.
    return hasattr(tensor, "full_tensor")
