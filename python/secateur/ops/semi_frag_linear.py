"""Linear layer over 2:4 fragments. The op is in _linear.py, the bytes in formats/semi_frag.py."""

from __future__ import annotations

from secateur.ops._linear import LinearOp

semi_frag_linear = LinearOp("semi_frag")
