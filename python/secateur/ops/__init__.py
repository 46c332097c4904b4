"""What is computed: schema, definition, shape rule and gradient of every op. No device code."""

from secateur import _extension
from secateur.ops.csr_linear import csr_linear
from secateur.ops.nm_linear import nm_linear

__all__ = ["csr_linear", "nm_linear"]

_extension.load()  # kernels take their place beside the references defined above
