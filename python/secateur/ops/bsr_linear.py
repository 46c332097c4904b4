"""Linear layer over a bsr weight. The op itself is in _linear.py, the bytes in formats/bsr.py."""

from __future__ import annotations

from secateur.ops._linear import LinearOp

bsr_linear = LinearOp("bsr")
