"""2:4 weights in fragment order, from what torch's converter packed: closed forms, no format's code.

nm_linear.h says what the order is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.support.cuda import torch24


def pack(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return values [M / 32, K / 32, 2, 32, 8] and metadata [M / 32, K / 32, 32], int32.

    Args:
        weight: [out, in], f16 or bf16, at most two of every four along a row not zero. M and K are
            its sides, padded with zeros to 32 and 64.
    """
    values, meta = torch24.pack(weight, out_multiple=32)
    rows, kept = values.shape
    lane, at = torch.arange(32)[:, None], torch.arange(8)
    g, t, register = lane // 4, lane % 4, at // 2
    row = g + 8 * (register % 2)
    column = 8 * (register // 2) + 2 * t + at % 2
    blocks = values.view(rows // 32, 2, 16, kept // 16, 16)  # strip, half, row, slice, kept column
    ordered = blocks[:, :, row, :, column]  # the two indices come first: lane, 8, strip, half, slice
    words = meta.reshape(-1).view(torch.int32).view(kept // 16, rows // 32, 32)
    return ordered.permute(2, 4, 3, 0, 1).contiguous(), words.transpose(0, 1).contiguous()
