"""Several sparse layers with one input as one: their outputs side by side in one packed weight.

A kernel brings x into its own order before it multiplies; a group does that once for all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from secateur.formats import FORMATS, Packed
from secateur.nn import packing
from secateur.nn.sparse_linear import SparseLinear


def join(parts: Sequence[tuple[str, Tensor, Tensor]]) -> Packed:
    """Pack several weights as one, one below the other.

    Args:
        parts: (format, values, index) of each, with equal in_features.

    Returns:
        [sum of out_features, in_features], in the parts' common format where it fits, else in
        "csr"; without verdicts, which were measured for other weights.

    Raises:
        ValueError: if there is none, or their in_features differ.
    """
    if not parts:
        raise ValueError("layers: wanted at least one, got none")
    weights = [packing.unpack(*part).detach() for part in parts]
    for (at, one), (_, other) in pairwise(enumerate(weights)):
        if one.shape[1] != other.shape[1]:
            raise ValueError(
                f"layers: wanted equal in_features, got {one.shape[1]} in layer {at} and "
                f"{other.shape[1]} in layer {at + 1}; only layers with one input can be joined"
            )
    mask = torch.cat([packing.mask(format, index) for format, _, index in parts])
    formats = {format for format, _, _ in parts}
    format = formats.pop() if len(formats) == 1 else "csr"
    if FORMATS.get(format).fits(mask) is not None:
        format = "csr"
    return packing.pack(torch.cat(weights), mask, format, inferred=False)


class SparseGroup(nn.Module):
    """Sparse layers that are given the same x, such as the projections of queries, keys, values.

    Attributes:
        joined: one SparseLinear with all outputs; its state_dict is the group's.
        sizes: out_features of each layer.

    Shape:
        x [..., in_features] -> a tuple with [..., sizes[i]] for each layer, views of one tensor.
    """

    def __init__(self, layers: Sequence[SparseLinear]) -> None:
        """Join copies of the weights of `layers`; a layer without a bias gets one of zeros.

        Raises:
            ValueError: if there are none, their in_features differ, or their values are int8.
        """
        super().__init__()
        for at, layer in enumerate(layers):
            if not layer.values.dtype.is_floating_point:
                raise ValueError(
                    f"layers: wanted floating values, got {layer.values.dtype} in layer {at}; "
                    "join the layers before their values are made int8"
                )
        packed = join([(layer.format, layer.values, layer.index) for layer in layers])
        self.sizes = tuple(layer.out_features for layer in layers)
        trains = any(layer.values.requires_grad for layer in layers)
        bias = join_biases([layer.bias for layer in layers], self.sizes, packed.values)
        self.joined = SparseLinear(packed, bias, trains=trains)
        self.training = self.joined.training = layers[0].training

    @classmethod
    def from_dense(
        cls, layers: Sequence[nn.Module], masks: Sequence[Tensor | None] | None = None
    ) -> SparseGroup:
        """Pack dense layers, each as `SparseLinear.from_dense` does.

        Args:
            layers: nn.Linear or Hugging Face Conv1D.
            masks: one for each layer; None: kept is what is not zero.
        """
        masks = [None] * len(layers) if masks is None else masks
        return cls([SparseLinear.from_dense(*pair) for pair in zip(layers, masks, strict=True)])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return what each layer makes of x [..., in_features]."""
        y: Tensor = self.joined(x)
        return y.split(self.sizes, dim=-1)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Say what is not seen from the joined layer."""
        return f"sizes={self.sizes}"


def join_biases(
    biases: Sequence[Tensor | None], sizes: Sequence[int], like: Tensor
) -> Tensor | None:
    """Return biases end to end, zeros (of like's dtype) for None; None if there are none."""
    if all(bias is None for bias in biases):
        return None
    zeros = [like.new_zeros(size) for size in sizes]
    pairs = zip(biases, zeros, strict=True)
    return torch.cat([none if bias is None else bias.detach() for bias, none in pairs])
