"""Linear layer over a lb32 weight. The op itself is in _linear.py, the bytes in formats/lb32.py."""

from __future__ import annotations

from secateur.ops._linear import LinearOp

lb32_linear = LinearOp("lb32")
