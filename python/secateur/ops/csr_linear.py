"""Linear layer over a csr weight. The op itself is in _linear.py, the bytes in formats/csr.py."""

from __future__ import annotations

from secateur.ops._linear import LinearOp

csr_linear = LinearOp("csr")
