"""What a layer costs on a GPU: the backends' own times, measured or predicted, as a Timing.

The op picks by the same times at each call, so what the gate decided is what runs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from secateur.backends import clock, gpus, registry
from secateur.backends.candidates import DENSE, Candidate, Operands, Problem
from secateur.backends.convolution import Convolution
from secateur.backends.gpus import Gpu
from secateur.backends.roofline import microseconds
from secateur.formats import Header, Packed
from secateur.nn import layers, packing
from secateur.nn.dense_layer import DenseLayer, Geometry
from secateur.nn.sparse_conv2d import SparseConv2d
from secateur.nn.sparse_layer import SparseLayer
from secateur.planning.record import Timing
from secateur.planning.size import Size


def of(layer: DenseLayer) -> Gpu | None:
    """Return the GPU that holds a layer's weight, or None where it is on another device."""
    return gpus.of(layer.weight.device.index or 0) if layer.weight.is_cuda else None


def formats(
    layer: DenseLayer, gpu: Gpu, sizes: Collection[Size], values: torch.dtype | None
) -> tuple[list[str], list[str]]:
    """Return the formats that some candidate runs at some size asked for, and why not the others.

    Args:
        layer: any.
        gpu: that would run it.
        sizes: of the calls that matter; with none, one row stands for all.
        values: type to hold the kept weights in; None: the weight's own.
    """
    fitting, refused = _fitting(layer)
    able = []
    for name in fitting:
        ours = [
            estimate
            for size in sorted(sizes) or [_smallest(layer)]
            for estimate in registry.estimates(name, problem(layer, name, size, values), gpu)
            if estimate.candidate.format == name
        ]
        if any(estimate.refusal is None for estimate in ours):
            able.append(name)
        else:
            reasons = dict.fromkeys(f"{e.candidate.name} {e.refusal}" for e in ours)
            refused.append(f"{name}: {'; '.join(reasons)}")
    return able, refused


def _fitting(layer: DenseLayer) -> tuple[list[str], list[str]]:
    """Return the formats that fit a layer's mask, and of a convolution why the others do not."""
    if layer.geometry is None:
        return packing.on_gpu(layer.mask), []
    unfit = packing.unfit_on_gpu(layer.mask, layer.geometry.groups)
    refused = [f"{name}: {reason}" for name, reason in unfit.items() if reason is not None]
    return [name for name, reason in unfit.items() if reason is None], refused


def _smallest(layer: DenseLayer) -> Size:
    """Return a size of one row, or of an image as large as the kernel."""
    return Size(1, None if layer.geometry is None else smallest(layer.geometry))


def problem(layer: DenseLayer, format: str, size: Size, values: torch.dtype | None) -> Problem:
    """Return the call of a layer at this size, as the backends see it."""
    out, columns = (int(side) for side in layer.weight.shape)
    stored = packing.slots(format, layer.mask) / (out * columns)
    dtype = layer.weight.dtype
    n, m = (*packing.pattern(format, layer.mask), 0, 0)[:2]
    types: dict[str, Any] = {"dtype": dtype, "values": values or dtype, "pattern": (n, m)}
    if layer.geometry is not None:
        return Problem.of_convolution(_convolution(layer, size), out, stored, **types)
    return Problem(size.rows, out, columns, stored, **types)


def _convolution(layer: DenseLayer, size: Size) -> Convolution:
    geometry = layer.geometry
    assert geometry is not None
    assert size.image is not None
    channels = int(layer.weight.shape[1]) // geometry.taps * geometry.groups
    return convolution(geometry, channels, size.image)


def smallest(geometry: Geometry) -> tuple[int, int, int]:
    """Return the batch, height and width of one image as large as the kernel."""
    sides = zip(geometry.kernel_size, geometry.dilation, strict=True)
    high, wide = ((kernel - 1) * dilation + 1 for kernel, dilation in sides)
    return 1, high, wide


def convolution(geometry: Geometry, channels: int, image: tuple[int, int, int]) -> Convolution:
    """Return a convolution as its op is called.

    Args:
        geometry: of the layer.
        channels: of x.
        image: batch, height and width of x, as the layer gets it.
    """
    (batch, high, wide), padding = image, geometry.padding
    if geometry.padding_mode != "zeros":  # the layer pads x itself
        left, right, top, bottom = padding
        high, wide, padding = high + top + bottom, wide + left + right, (0, 0, 0, 0)
    shape = (geometry.kernel_size, geometry.stride, padding, geometry.dilation)
    return Convolution((batch, channels, high, wide), *shape, geometry.groups)


def timing(
    layer: DenseLayer, format: str, size: Size, gpu: Gpu, values: torch.dtype | None
) -> Timing:
    """Return the times of the best dense and the best sparse candidate, as they are known."""
    pick = registry.pick(format, problem(layer, format, size, values), gpu)
    best = {True: math.inf, False: math.inf}
    for estimate in pick.estimates:
        seconds = estimate.measured_s if pick.measured else estimate.predicted_s
        if seconds is not None:
            is_dense = estimate.candidate.format == DENSE
            best[is_dense] = min(best[is_dense], seconds)
    times = (best[True] * 1e3, best[False] * 1e3)
    of = "row" if layer.geometry is None else "pixel"
    return Timing(size.rows, *times, not pick.measured, of=of)


def measure(
    layer: DenseLayer, packed: Packed, size: Size, gpu: Gpu, values: torch.dtype | None
) -> None:
    """Time every candidate of a packed weight at this size; the backends keep the times."""
    sparse = layers.sparse(layer, packed).eval()
    if values is not None:
        sparse.store(values)
    conv = None if layer.geometry is None else _convolution(layer, size)
    x = size.random_x(layer) if conv is None else _image(conv, layer.weight)
    operands = Operands(
        x=x,
        values=sparse.values.detach(),
        index=sparse.index,
        bias=layer.bias,
        residual=None,
        scale=sparse.scale,
        dense=layer.weight if conv is None else _taps(conv, layer.weight),
        out_features=len(layer.weight),
        act="none",
        convolution=conv,
    )

    def seconds(candidate: Candidate) -> float:
        return clock.seconds(lambda: candidate.run(operands), x.device)

    asked = problem(layer, packed.format, size, values)
    with torch.no_grad():
        registry.measure(packed.format, asked, gpu, seconds)


def _image(conv: Convolution, like: Tensor) -> Tensor:
    """Return a random x, channels_last, as it is fastest for all candidates."""
    x = torch.randn(conv.image, generator=torch.Generator().manual_seed(0))
    return x.to(like.device, like.dtype, memory_format=torch.channels_last)


def _taps(conv: Convolution, weight: Tensor) -> Tensor:
    """Return a weight [out, kh * kw * C / groups] as torch convolves with it."""
    channels = conv.image[1] // conv.groups
    return weight.reshape(len(weight), *conv.kernel_size, channels).movedim(-1, 1)


def called(layer: SparseLayer, rows: int, image: tuple[int, int, int] | None) -> Problem:
    """Return a call of a sparse layer, as the backends see it.

    Args:
        layer: on a GPU.
        rows: of x; a convolution has those of its image.
        image: batch, height and width of a convolution's x; None: the smallest.
    """
    header = Header.read(layer.index)
    out, columns = layer.matrix_shape
    values = layer.values.dtype
    types: dict[str, Any] = {
        "dtype": values if layer.scale is None else torch.float16,
        "values": values,
        "pattern": (header.n, header.m),
    }
    density = header.nnz / (out * columns)
    if not isinstance(layer, SparseConv2d):
        return Problem(rows, out, columns, density, **types)
    geometry = layer.geometry
    conv = convolution(geometry, layer.in_channels, image or smallest(geometry))
    return Problem.of_convolution(conv, out, density, **types)


def told(
    layer: DenseLayer,
    names: Sequence[str],
    sizes: Collection[Size],
    gpu: Gpu,
    values: torch.dtype | None,
) -> list[str]:
    """Return a line for each candidate and size: what was measured, and what the model predicts."""
    lines = []
    for size in sorted(sizes):
        for name in names:
            asked = problem(layer, name, size, values)
            for estimate in registry.estimates(name, asked, gpu):
                if estimate.candidate.format == DENSE and name != names[0]:
                    continue
                lines.append(f"{estimate.candidate.name} at {size.rows}: {_said(estimate)}")
    return lines


def _said(estimate: registry.Estimate) -> str:
    if estimate.refusal is not None:
        return estimate.refusal
    assert estimate.predicted_s is not None
    predicted = f"predicted {microseconds(estimate.predicted_s)} us"
    if estimate.measured_s is None:
        return f"{predicted}, not measured"
    return f"measured {microseconds(estimate.measured_s)} us, {predicted}"
