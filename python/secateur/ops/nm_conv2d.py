"""2-D convolution with a nm weight. The op itself is in _conv.py, the bytes in formats/nm.py."""

from __future__ import annotations

from secateur.ops._conv import ConvOp
from secateur.ops.nm_linear import nm_linear

nm_conv2d = ConvOp(nm_linear)
