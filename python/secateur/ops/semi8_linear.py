"""Linear layer over a semi8 weight. The op is in _linear.py, the bytes in formats/semi8.py."""

from __future__ import annotations

from secateur.ops._linear import LinearOp

semi8_linear = LinearOp("semi8")
