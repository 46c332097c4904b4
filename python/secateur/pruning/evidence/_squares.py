"""Sums of the squares of what the columns of a weight, as a matrix [out, in], are multiplied by."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def row_squares(x: Tensor) -> Tensor:
    """Return the sum of x^2 over all dimensions but the last, [1, in], in float32 at least."""
    rows = _squared(x if x.dim() > 1 else x[None])
    return rows.flatten(0, -2).sum(0, keepdim=True)


def conv_squares(x: Tensor, conv: Any) -> Tensor:
    """Return the sum of squares that each column of a convolution's weight meets.

    What a tap meets is a strided slice of the padded x, so nothing is unfolded.

    Args:
        x: [N, I, *space] or [I, *space], of one to three dimensions.
        conv: nn.Conv1d, nn.Conv2d or nn.Conv3d: its kernel_size, stride, padding, padding_mode,
            dilation and groups count.

    Returns:
        [groups, taps * I / groups], in float32 at least; the channel is fastest, as in
        `Target.to_matrix`.
    """
    dims = len(conv.kernel_size)
    x = x if x.dim() == dims + 2 else x[None]
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    squares = F.pad(_squared(x), _padding(conv), mode=mode)
    outputs = [
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip(
            squares.shape[2:], conv.kernel_size, conv.stride, conv.dilation, strict=True
        )
    ]
    taps = []
    for tap in product(*map(range, conv.kernel_size)):
        seen = squares
        for dim, (at, out) in enumerate(zip(tap, outputs, strict=True)):
            first, step = at * conv.dilation[dim], conv.stride[dim]
            seen = seen.narrow(2 + dim, first, step * (out - 1) + 1)
            seen = seen[(slice(None),) * (2 + dim) + (slice(None, None, step),)]
        taps.append(seen.sum((0, *range(2, 2 + dims))))
    per_group = torch.stack(taps).reshape(len(taps), conv.groups, -1).transpose(0, 1)
    return per_group.reshape(conv.groups, -1)


def _squared(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32)).square()


def _padding(conv: Any) -> list[int]:
    """Return how much is added before and after each dimension, last dimension first, for F.pad."""
    if conv.padding == "valid":
        return [0, 0] * len(conv.kernel_size)
    if conv.padding == "same":
        added = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        sides = [(total // 2, total - total // 2) for total in added]
    else:
        sides = [(size, size) for size in conv.padding]
    return [size for pair in reversed(sides) for size in pair]
