"""What criteria that look at inputs share: each input's norm beside each weight that reads it."""

from __future__ import annotations

import torch
from torch import Tensor


def beside(norms: Tensor, weight: Tensor) -> Tensor:
    """Return the norm of the input that each weight reads, [out, in], from `norms` [groups, in].

    In float32, or float64 if `weight` is that.
    """
    groups, columns = norms.shape
    wide = norms.to(weight.device, at_least_float32(weight))
    per_row = wide[:, None].expand(groups, weight.shape[0] // groups, columns)
    return per_row.reshape(weight.shape)


def at_least_float32(tensor: Tensor) -> torch.dtype:
    """Return the type that scores of `tensor` are computed in."""
    return torch.promote_types(tensor.dtype, torch.float32)
