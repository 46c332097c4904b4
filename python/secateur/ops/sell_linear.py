"""Linear layer over a sell weight. The op itself is in _linear.py, the bytes in formats/sell.py."""

from __future__ import annotations

from secateur.ops._linear import LinearOp

sell_linear = LinearOp("sell")
