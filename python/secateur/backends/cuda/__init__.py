"""Our kernels in CUDA C++: one declarative file for each format, and the library they are in."""

from __future__ import annotations

from secateur.backends.cuda import _packing
from secateur.backends.cuda._library import kernels, why_not

__all__ = ["kernels", "why_not"]

_packing.register()
