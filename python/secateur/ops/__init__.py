"""What is computed: schema, definition, shape rule and gradient of every op. No device code."""

from secateur import _extension
from secateur.ops.bitmap_linear import bitmap_linear
from secateur.ops.bsr_conv2d import bsr_conv2d
from secateur.ops.bsr_linear import bsr_linear
from secateur.ops.csr_conv2d import csr_conv2d
from secateur.ops.csr_linear import csr_linear
from secateur.ops.csr_mlp import csr_mlp
from secateur.ops.lb32_linear import lb32_linear
from secateur.ops.masked_linear import masked_linear
from secateur.ops.n32_linear import n32_linear
from secateur.ops.nm_conv2d import nm_conv2d
from secateur.ops.nm_linear import nm_linear
from secateur.ops.nm_mlp import nm_mlp
from secateur.ops.nm_regroup import nm_regroup
from secateur.ops.rows_conv2d import rows_conv2d
from secateur.ops.rows_linear import rows_linear
from secateur.ops.sell_linear import sell_linear
from secateur.ops.semi8_linear import semi8_linear
from secateur.ops.semi_frag_conv2d import semi_frag_conv2d
from secateur.ops.semi_frag_linear import semi_frag_linear
from secateur.ops.semi_linear import semi_linear

__all__ = [
    "bitmap_linear",
    "bsr_conv2d",
    "bsr_linear",
    "csr_conv2d",
    "csr_linear",
    "csr_mlp",
    "lb32_linear",
    "masked_linear",
    "n32_linear",
    "nm_conv2d",
    "nm_linear",
    "nm_mlp",
    "nm_regroup",
    "rows_conv2d",
    "rows_linear",
    "sell_linear",
    "semi8_linear",
    "semi_frag_conv2d",
    "semi_frag_linear",
    "semi_linear",
]

_extension.load()  # kernels take their place beside the references defined above
