"""2-D convolution with a csr weight. The op itself is in _conv.py, the bytes in formats/csr.py."""

from __future__ import annotations

from secateur.ops._conv import ConvOp
from secateur.ops.csr_linear import csr_linear

csr_conv2d = ConvOp(csr_linear)
