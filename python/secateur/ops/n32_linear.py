"""Linear layer over a n32 weight. The op itself is in _linear.py, the bytes in formats/n32.py."""

from __future__ import annotations

from secateur.ops._linear import LinearOp

n32_linear = LinearOp("n32")
