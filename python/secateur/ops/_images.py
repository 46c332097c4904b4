"""Images as the rows of a product and back, and what comes after a convolution's sum."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.backends.activations import ACTIVATIONS
from secateur.ops._conv_call import ConvCall


def unfolded(call: ConvCall) -> list[Tensor]:
    """Return for each group x as rows of weight columns: [N * H' * W', kh * kw * C / groups]."""
    images, channels = call.x.shape[:2]
    if call.rows == 0:
        empty = call.x.new_empty(0, call.columns)
        return [empty] * call.groups
    kernel, dilation, stride = map(tuple, (call.kernel_size, call.dilation, call.stride))
    columns = F.unfold(call.padded(), kernel, dilation, 0, stride)
    taps = call.kernel_size[0] * call.kernel_size[1]
    split = columns.view(images, call.groups, channels // call.groups, taps, -1)
    by_group = split.permute(1, 0, 4, 3, 2).reshape(call.groups, call.rows, call.columns)
    return list(by_group)


def folded(call: ConvCall, rows: Tensor) -> Tensor:
    """Return the sum of `rows`, one group's as of `unfolded`, at their pixels of the padded x."""
    images, channels = call.x.shape[:2]
    high, wide = padded_size(call)
    if call.rows == 0:
        return rows.new_zeros(images, channels, high, wide)
    taps = call.kernel_size[0] * call.kernel_size[1]
    columns = rows.view(images, -1, taps, channels).permute(0, 3, 2, 1).flatten(1, 2)
    kernel, dilation, stride = map(tuple, (call.kernel_size, call.dilation, call.stride))
    return F.fold(columns, (high, wide), kernel, dilation, 0, stride)


def padded_size(call: ConvCall) -> tuple[int, int]:
    """Return height and width of x with its padding."""
    left, right, top, bottom = call.padding
    return call.x.shape[2] + top + bottom, call.x.shape[3] + left + right


def cropped(call: ConvCall, padded: Tensor) -> Tensor:
    """Return a gradient of the padded x without the padding's."""
    left, _, top, _ = call.padding
    high, wide = call.x.shape[2:]
    return padded[:, :, top : top + high, left : left + wide].contiguous()


def pixels(image: Tensor) -> Tensor:
    """Return [N, C, H, W] as [N * H * W, C]."""
    return image.movedim(1, -1).reshape(-1, image.shape[1])


def memory_format(x: Tensor) -> torch.memory_format:
    """Return how x lies, and so shall y; contiguous where it is both."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def finished(call: ConvCall, y: Tensor) -> Tensor:
    """Return y of the sums."""
    if call.residual is not None and call.residual_first:
        y = y + call.residual
    y = ACTIVATIONS[call.act].forward(y)
    if call.residual is not None and not call.residual_first:
        y = y + call.residual
    return y.to(call.x.dtype).contiguous(memory_format=memory_format(call.x))
