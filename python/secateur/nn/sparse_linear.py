"""A linear layer on a packed sparse weight, with nn.Linear's signature.

What is computed is said in secateur.ops, how a weight is packed in secateur.formats.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateur.formats import Packed
from secateur.nn import dense_layer, packing
from secateur.nn.sparse_layer import SparseLayer


class SparseLinear(SparseLayer):
    """y = x @ W^T + b with a packed W: drop-in for nn.Linear. State and training: `SparseLayer`.

    Shape:
        x [..., in_features] -> [..., out_features], in x's dtype.
    """

    def __init__(self, packed: Packed, bias: Tensor | None = None, *, trains: bool = True) -> None:
        super().__init__(packed, bias, trains=trains)
        self.in_features = packed.in_features
        self.out_features = packed.out_features

    @classmethod
    def from_dense(
        cls, linear: nn.Module, mask: Tensor | None = None, *, format: str | None = None
    ) -> SparseLinear:
        """Pack the weight of a dense layer; the layer itself is left as it is.

        Args:
            linear: nn.Linear or Hugging Face Conv1D; torch.nn.utils.prune's weight_orig and
                weight_mask, a MaskedLinear's weight and mask, and parametrised weights are taken
                as the forward sees them.
            mask: [out_features, in_features], nonzero where a weight is kept; None: where the
                weight is not zero.
            format: name of a packed format; None: "rows" where whole rows and columns are gone,
                "bsr" where whole blocks are, "nm" where every group obeys one N:M (N KEPT of M)
                with M in {4, 8, 16}, else "csr"; "bitmap" and "sell", for few rows of x, are taken
                by name only.

        Raises:
            TypeError: if `linear` is another kind of module.
            ValueError: if the mask's shape is wrong or the format does not fit the mask.
        """
        layer = dense_layer.read_linear(linear, mask)
        packed = packing.pack(layer.weight, layer.mask, format, inferred=layer.inferred)
        sparse = cls(packed, layer.bias, trains=layer.trains)
        sparse.training = linear.training
        return sparse

    @property
    def op(self) -> str:
        """Name of the op that computes it."""
        return f"{self.format}_linear"

    def _format_on(self, kind: str, mask: Tensor) -> str:
        """Return the format that this layer takes on a kind of device: its own if that will do."""
        if kind == "cuda":
            return self.format if self.format in packing.ON_GPU_ONLY else packing.on_gpu(mask)[0]
        ours = self.format not in packing.ON_GPU_ONLY
        return self.format if ours else packing.choose(mask, inferred=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x @ W^T + b for x [..., in_features]."""
        # From the dicts: nn.Module's attribute access would cost 1 µs for each of the six.
        values, bias = self._parameters["values"], self._parameters["bias"]
        buffers = self._buffers
        assert values is not None
        dense = self._prepare(x)
        wanted = None
        if torch.is_autocast_enabled(x.device.type):
            wanted = torch.get_autocast_dtype(x.device.type)
            x = x if buffers["scale"] is not None else x.to(values.dtype)
        y = packing.linear(self.format)(
            x,
            values,
            buffers["index"],
            bias,
            scale=buffers["scale"],
            dense=dense,
            transposed=buffers["transposed"],
            out_features=self.out_features,
        )
        return y if wanted is None else y.to(wanted)

    def to_dense(self) -> nn.Linear:
        """Return an nn.Linear with this layer's weight (zeros and all), bias, and mode."""
        made: nn.Linear = nn.utils.skip_init(
            nn.Linear,
            self.in_features,
            self.out_features,
            **self._made_like,
        )
        return self._filled(made)

    def extra_repr(self) -> str:
        """Return nn.Linear's line, with sparsity and format."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, sparsity={self.sparsity:.3f}, format={self.format}"
        )
