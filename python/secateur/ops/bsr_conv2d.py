"""2-D convolution with a bsr weight. The op itself is in _conv.py, the bytes in formats/bsr.py."""

from __future__ import annotations

from secateur.ops._conv import ConvOp
from secateur.ops.bsr_linear import bsr_linear

bsr_conv2d = ConvOp(bsr_linear)
