"""Linear layer over a semi weight. The op itself is in _linear.py, the bytes in formats/semi.py."""

from __future__ import annotations

from secateur.ops._linear import LinearOp

semi_linear = LinearOp("semi")
