"""A dense layer that was read, as a module again: sparse, or dense and plain."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from secateur.formats import Packed
from secateur.nn import packing
from secateur.nn.dense_layer import DenseLayer
from secateur.nn.projections import plain_linear
from secateur.nn.sparse_conv1d import SparseConv1d
from secateur.nn.sparse_conv2d import SparseConv2d
from secateur.nn.sparse_layer import SparseLayer
from secateur.nn.sparse_linear import SparseLinear


def formats(layer: DenseLayer, rows: Collection[int] = ()) -> list[str]:
    """Return the formats worth measuring for `layer`, see `packing.candidates`."""
    if layer.geometry is None:
        return packing.candidates(layer.mask, inferred=layer.inferred, rows=rows)
    return packing.convolving(layer.mask, layer.geometry.groups, inferred=layer.inferred)


def packed(layer: DenseLayer, format: str) -> Packed:
    """Pack the weight of `layer`."""
    groups = None if layer.geometry is None else layer.geometry.groups
    inferred = layer.inferred
    return packing.pack(layer.weight, layer.mask, format, inferred=inferred, groups=groups)


def sparse(layer: DenseLayer, packed: Packed) -> SparseLayer:
    """Return the sparse module of `layer` on its packed weight."""
    if layer.geometry is None:
        return SparseLinear(packed, layer.bias, trains=layer.trains)
    kind = SparseConv2d if layer.geometry.dims == 2 else SparseConv1d
    return kind(packed, layer.bias, **layer.geometry.arguments, trains=layer.trains)


def dense(layer: DenseLayer) -> nn.Module:
    """Return torch's module of `layer`, around the weight that was read."""
    if layer.geometry is None:
        return plain_linear(layer.weight, layer.bias)
    geometry, dims = layer.geometry, layer.geometry.dims
    out, channels = len(layer.weight), layer.weight.shape[1] // geometry.taps
    made: nn.Conv1d | nn.Conv2d = nn.utils.skip_init(
        nn.Conv2d if dims == 2 else nn.Conv1d,
        channels * geometry.groups,
        out,
        geometry.kernel_size[-dims:],
        geometry.stride[-dims:],
        geometry.as_given(),
        geometry.dilation[-dims:],
        geometry.groups,
        bias=layer.bias is not None,
        padding_mode=geometry.padding_mode,
        device="meta",
    )
    weight = layer.weight.reshape(out, *geometry.kernel_size[-dims:], channels).movedim(-1, 1)
    made.weight = nn.Parameter(weight.contiguous(), requires_grad=layer.trains)
    if layer.bias is not None:
        made.bias = nn.Parameter(layer.bias, requires_grad=layer.trains)
    return made
