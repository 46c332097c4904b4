"""The dense convolution by cuDNN, with the dense copy of a layer: what a sparse one must beat."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.backends import roofline
from secateur.backends.candidates import ANY, DENSE, FLOATS, Candidate, Operands, add


def run(call: Operands) -> Tensor:
    """Return conv2d(x, W) + bias with the dense copy, channels_last."""
    conv = call.convolution
    assert conv is not None
    assert call.dense is not None
    left, right, top, bottom = conv.padding
    x, padding = call.x, (top, left)
    if (left, top) != (right, bottom):
        x, padding = F.pad(x, conv.padding), (0, 0)
    return F.conv2d(
        x.contiguous(memory_format=torch.channels_last),
        call.dense.to(x.dtype, memory_format=torch.channels_last),
        None if call.bias is None else call.bias.to(x.dtype),
        conv.stride,
        padding,
        conv.dilation,
        conv.groups,
    )


add(
    Candidate(
        "cudnn",
        DENSE,
        FLOATS,
        predict=roofline.cudnn,
        run=run,
        capability=(0, ANY),
        fused=False,
        convolves=True,
    )
)
