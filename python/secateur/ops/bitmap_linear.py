"""Linear layer over a bitmap weight. The op is in _linear.py, the bytes in formats/bitmap.py."""

from __future__ import annotations

from secateur.ops._linear import LinearOp

bitmap_linear = LinearOp("bitmap")
