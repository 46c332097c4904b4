"""2:4 weights as torch packs them, on the CPU, by its own converter: no code of ours is in it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from torch.sparse._semi_structured_conversions import (
    sparse_semi_structured_from_dense_cutlass as _from_dense,
)


def pack(weight: Tensor, out_multiple: int = 64, in_multiple: int = 64) -> tuple[Tensor, Tensor]:
    """Return values [padded_out, padded_in / 2] and metadata of a weight [out, in] that is 2:4.

    Args:
        weight: at most two of every four along a row are not zero.
        out_multiple: what its rows are padded to, with zeros.
        in_multiple: what its columns are padded to.
    """
    out, in_ = weight.shape
    padded = F.pad(weight, (0, -in_ % in_multiple, 0, -out % out_multiple))
    values, meta = _from_dense(padded)
    return values, meta
