"""2-D convolution over 2:4 fragments. The op is in _conv.py, the bytes in formats/semi_frag.py."""

from __future__ import annotations

from secateur.ops._conv import ConvOp
from secateur.ops.semi_frag_linear import semi_frag_linear

semi_frag_conv2d = ConvOp(semi_frag_linear)
