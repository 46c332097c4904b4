"""2-D convolution with a weight without some outputs and input channels: a smaller dense one.

No kernel of its own: it gathers channels of x, convolves as torch does, and scatters to y.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.formats.rows import ROWS, Kept
from secateur.ops import _reference
from secateur.ops._conv import ConvOp
from secateur.ops._conv_call import ConvCall
from secateur.ops._images import finished
from secateur.ops.rows_linear import rows_linear


class RowsConvOp(ConvOp):
    """The convolution of the rows format, on every device by torch's own."""

    def __init__(self) -> None:
        super().__init__(rows_linear)

    def default(self, *args: Any, **kwargs: Any) -> Tensor:
        """Convolve what is left, or with the dense copy where that was measured faster."""
        call, header = self._read(*args, **kwargs)
        dense = call.dense is not None and header.verdict(call.rows) == "dense"
        # Groups may be left with unequally many outputs, which no dense convolution has.
        if dense or call.groups > 1:
            return super().default(*args, **kwargs)
        kept = ROWS.kept(header, call.index)
        channels = torch.unique(kept.columns % call.x.shape[1])
        wide = _reference.accumulator(call.x, call.values)
        x = call.padded().to(wide)
        x = x if len(channels) == x.shape[1] else x.index_select(1, channels)
        weight = _weight(call, kept, channels).to(wide)
        y = _scattered(call, _convolved(call, x, weight), kept.rows)
        return finished(call, y)


rows_conv2d = RowsConvOp()


def _weight(call: ConvCall, kept: Kept, channels: Tensor) -> Tensor:
    """Return the weight [kept rows, kept channels, kh, kw], laid out with its channels last."""
    high, wide = len(kept.rows), len(kept.columns)
    matrix = call.values[: high * wide].view(high, wide)
    if call.scale is not None:
        matrix = matrix * call.scale[kept.rows, None]
    taps = call.kernel_size[0] * call.kernel_size[1]
    if wide < taps * len(channels):  # whole taps are gone too
        tap, channel = kept.columns // call.x.shape[1], kept.columns % call.x.shape[1]
        at = tap * len(channels) + torch.searchsorted(channels, channel)
        matrix = matrix.new_zeros(high, taps * len(channels)).index_copy(1, at.long(), matrix)
    return matrix.view(high, *call.kernel_size, len(channels)).movedim(-1, 1)


def _convolved(call: ConvCall, x: Tensor, weight: Tensor) -> Tensor:
    """Return the sums of the kept outputs. Autocast would round the operands."""
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(x, weight, None, list(call.stride), 0, list(call.dilation))


def _scattered(call: ConvCall, part: Tensor, rows: Tensor) -> Tensor:
    """Return all outputs, with the bias; those without weights are nothing else."""
    bias = None if call.bias is None else call.bias.to(part.dtype)[:, None, None]
    if len(rows) < call.out_channels:
        whole = part.new_zeros(part.shape[0], call.out_channels, *part.shape[2:])
        part = whole.index_copy_(1, rows.long(), part)
    return part if bias is None else part + bias
