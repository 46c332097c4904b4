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
    gathered: Tensor = shared.full_tensor() if is_shared_out(tensor) else shared
    return gathered


def here(tensor: Tensor) -> Tensor:
    """Return what this process holds of `tensor`, detached and sharing its memory."""
    shared: Any = tensor.detach()
    local: Tensor = shared.to_local() if is_shared_out(tensor) else shared
    return local


class Parts:
    """Finds the part of a whole mask that belongs to what this process holds of a tensor.

    Nothing is sent: the mask is the same everywhere already. Cutting costs a quarter of a
    millisecond, so each part is cut once, and again when its mask is another or has changed.
    Copies and pickles of it are empty.
    """

    def __init__(self) -> None:
        self._cut: dict[Any, tuple[Tensor, int, Tensor]] = {}

    def of(self, mask: Tensor, name: str, tensor: Tensor) -> Tensor:
        """Return the part of `mask`, that of parameter `name`, for `tensor`, shaped like it."""
        if not is_shared_out(tensor):
            return mask
        shared: Any = tensor
        key = (name, shared.device_mesh, shared.placements)
        version = 0 if mask.is_inference() else mask._version
        known = self._cut.get(key)
        if known is None or known[0] is not mask or known[1] != version:
            known = self._cut[key] = (mask, version, _cut(mask, shared))
        return known[2]

    def __reduce__(self) -> tuple[type[Parts], tuple[()]]:
        return Parts, ()


def _cut(mask: Tensor, shared: Any) -> Tensor:
    from torch.distributed.tensor import DTensor, Replicate

    everywhere = [Replicate()] * shared.device_mesh.ndim
    whole_mask = DTensor.from_local(mask, shared.device_mesh, everywhere, run_check=False)
    return whole_mask.redistribute(placements=shared.placements).to_local()


def settle(model: nn.Module) -> None:
    """Let FSDP drop the whole weights it keeps after a forward pass without a backward one.

    They are copies: what is written to them is lost, and what is written beside them not seen.
    """
    for module in model.modules():
        reshard = getattr(module, "reshard", None)
        if callable(reshard) and hasattr(module, "unshard"):
            reshard()


def is_shared_out(tensor: Tensor) -> bool:
    """Return whether several processes hold `tensor` in parts."""
    # By its method: builds of torch without distributed have no DTensor to ask for.
    return hasattr(tensor, "full_tensor")
