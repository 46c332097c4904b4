"""Two layers over N:M weights in one call. The op itself is in _mlp.py."""

from __future__ import annotations

from secateur.ops._mlp import MlpOp
from secateur.ops.nm_linear import nm_linear

nm_mlp = MlpOp(nm_linear)
