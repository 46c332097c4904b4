"""The form in which a sparse weight is stored: mask bits, and the kept values in row-major order.

It is the same on every machine and for every packed format. What a kernel wants is not here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

VERSION = 1


class Canonical(NamedTuple):
    """A sparse weight as files and checkpoints hold it.

    Attributes:
        bits: uint8 [ceil(out * in / 8)]; bit j (least significant first) of byte i tells whether
            the weight at flat row-major position 8 * i + j is kept. Spare bits are zero.
        values: [number kept], the kept weights in row-major order; int8 where a scale [out],
            float32, is stored beside them.
    """

    bits: Tensor
    values: Tensor


def of_dense(weight: Tensor, mask: Tensor) -> Canonical:
    """Return the canonical form of `weight` [out, in] where `mask` (bool, same shape) is set."""
    packed = np.packbits(mask.detach().cpu().numpy().reshape(-1), bitorder="little")
    return Canonical(torch.from_numpy(packed), weight.detach()[mask.to(weight.device)].clone())


def fault(
    bits: Tensor, values: Tensor, shape: tuple[int, int], scale: Tensor | None = None
) -> str | None:
    """Return what is wrong with a canonical weight of `shape` (out, in), or None if it is sound."""
    count = shape[0] * shape[1]
    if bits.dtype != torch.uint8 or bits.shape != ((count + 7) // 8,):
        return (
            f"mask must be {(count + 7) // 8} bytes (uint8) for a weight of shape "
            f"{list(shape)}, got {list(bits.shape)} of {bits.dtype}"
        )
    fits = values.is_floating_point() if scale is None else values.dtype == torch.int8
    if values.dim() != 1 or not fits:
        wanted = "floating" if scale is None else "int8, as they have a scale"
        return f"values must be 1-D and {wanted}, got {list(values.shape)} of {values.dtype}"
    if scale is not None and (scale.dtype != torch.float32 or scale.shape != shape[:1]):
        return f"scale must be float32 [{shape[0]}], got {list(scale.shape)} of {scale.dtype}"
    flags = np.unpackbits(bits.detach().cpu().numpy(), bitorder="little")
    if flags[count:].any():
        return "mask has bits set beyond the weight's last element"
    kept = int(flags.sum())
    if kept != values.numel():
        return f"mask keeps {kept} weights but values holds {values.numel()}"
    return None


def to_dense(
    canonical: Canonical, shape: tuple[int, int], scale: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return weight [out, in] (dropped weights are zero) and its mask (bool, same shape).

    The weight is of the values' type: int8 ones are not multiplied by their scale.

    Raises:
        ValueError: if bits and values do not describe a weight of `shape`.
    """
    reason = fault(*canonical, shape, scale)
    if reason is not None:
        raise ValueError(reason)
    bits, values = canonical
    count = shape[0] * shape[1]
    flags = np.unpackbits(bits.detach().cpu().numpy(), count=count, bitorder="little")
    mask = torch.from_numpy(flags.astype(bool)).reshape(shape).to(values.device)
    weight = torch.zeros(shape, dtype=values.dtype, device=values.device)
    weight[mask] = values.detach()
    return weight, mask
