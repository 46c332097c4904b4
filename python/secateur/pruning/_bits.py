"""Zeros written under a mask, at every training step: so it has to cost next to nothing."""

from __future__ import annotations

import torch
from torch import Tensor

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_PIECE = 1 << 18
"""Bytes written at once: with the mask widened beside them they stay in a core's L2 cache."""
_SMALL = 1 << 21
"""Bytes up to which one call is as fast."""


def zero_bits_(tensor: Tensor, mask: Tensor) -> None:
    """Set `tensor` to zero, all bits of it, where `mask` is false, in place.

    Bits are multiplied by 1 or 0. A product of floats makes NaN of inf * 0 and -0.0 of -1 * 0, and
    masked_fill_ branches on every weight.

    Args:
        tensor: any dtype of 1 to 8 bytes.
        mask: bool, shaped like it, on the same device.
    """
    bits = tensor.view(_INTEGERS[tensor.element_size()])
    whole = bits.nbytes <= _SMALL or bits.device.type != "cpu"
    if whole or not (bits.is_contiguous() and mask.is_contiguous()):
        bits.mul_(mask)
        return
    # In one call torch widens the mask a few elements at a time.
    piece = _PIECE // tensor.element_size()
    wide = torch.empty(min(piece, bits.numel()), dtype=bits.dtype)
    for part, kept in zip(bits.view(-1).split(piece), mask.view(-1).split(piece), strict=True):
        part.mul_(wide[: len(kept)].copy_(kept))
