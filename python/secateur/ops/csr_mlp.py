"""Two layers over csr weights in one call. The op itself is in _mlp.py."""

from __future__ import annotations

from secateur.ops._mlp import MlpOp
from secateur.ops.csr_linear import csr_linear

csr_mlp = MlpOp(csr_linear)
