"""Packed weights: (weight, mask) to tensors and back. Nothing of pruning, kernels or timing."""

from secateur.formats.base import FORMATS, Format, Packed
from secateur.formats.csr import permutation
from secateur.formats.header import Header, Verdict, bucket, packed_alike, verdict, with_verdicts
from secateur.formats.layout import DEFAULT_LAYOUT, Layout

__all__ = [
    "DEFAULT_LAYOUT",
    "FORMATS",
    "Format",
    "Header",
    "Layout",
    "Packed",
    "Verdict",
    "bucket",
    "packed_alike",
    "permutation",
    "verdict",
    "with_verdicts",
]
