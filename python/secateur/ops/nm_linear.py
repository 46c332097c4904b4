"""Linear layer over an N:M weight. The op itself is in _linear.py, the bytes in formats/nm.py."""

from __future__ import annotations

from secateur.ops._linear import LinearOp

nm_linear = LinearOp("nm")
