"""The same masks on every process of a distributed run."""

from __future__ import annotations

from secateur.pruning.masks import Masks


def broadcast_(masks: Masks, source: int = 0) -> None:
    """Take over the masks of process `source`, in place, and set the removed weights to zero.

    For masks that were made on each process apart from weights or draws that differ. Masks made of
    equal weights are equal already. Every process of the default group must call it.

    Args:
        masks: for the same parameters on every process.
        source: rank of the process whose masks count.

    Raises:
        ValueError: if there is no process group, or the parameters' names or shapes differ from
            those of `source`; this process's masks and weights are then as they were.
    """
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        raise ValueError("there is no process group; call torch.distributed.init_process_group")
    said = [masks.state_dict()]
    said[0]["masks"] = {name: mask.cpu() for name, mask in masks.items()}
    distributed.broadcast_object_list(said, src=source)
    masks.parameters()
    masks.load_state_dict(said[0])
    masks.apply_()
