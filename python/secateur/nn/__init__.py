"""Packed weights behind modules with the dense modules' signatures."""

from secateur.nn.attention import SparseMultiheadAttention
from secateur.nn.convert import to_dense
from secateur.nn.masked_linear import MaskedLinear
from secateur.nn.sparse_conv1d import SparseConv1d
from secateur.nn.sparse_conv2d import SparseConv2d
from secateur.nn.sparse_group import SparseGroup
from secateur.nn.sparse_linear import SparseLinear

__all__ = [
    "MaskedLinear",
    "SparseConv1d",
    "SparseConv2d",
    "SparseGroup",
    "SparseLinear",
    "SparseMultiheadAttention",
    "to_dense",
]
