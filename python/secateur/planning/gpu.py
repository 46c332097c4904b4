"""What a layer costs on a GPU: the backends' own times, measured or predicted, as a Timing.

The op picks by the same times at each call, so what the gate decided is what runs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch

from secateur.backends import clock, gpus, registry
from secateur.backends.candidates import DENSE, Candidate, Operands, Problem
from secateur.backends.gpus import Gpu
from secateur.backends.roofline import microseconds
from secateur.formats import Packed
from secateur.nn import layers, packing
from secateur.nn.dense_layer import DenseLayer
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
    if layer.geometry is not None:
        return [], ["there are no sparse convolutions on GPUs yet"]
    able, refused = [], []
    for name in packing.on_gpu(layer.mask):
        ours = [
            estimate
            for size in sorted(sizes) or [Size(1)]
            for estimate in registry.estimates(name, problem(layer, name, size, values), gpu)
            if estimate.candidate.format == name
        ]
        if any(estimate.refusal is None for estimate in ours):
            able.append(name)
        else:
            reasons = dict.fromkeys(f"{e.candidate.name} {e.refusal}" for e in ours)
            refused.append(f"{name}: {'; '.join(reasons)}")
    return able, refused


def problem(layer: DenseLayer, format: str, size: Size, values: torch.dtype | None) -> Problem:
    """Return the call of a layer at this size, as the backends see it."""
    out, columns = (int(side) for side in layer.weight.shape)
    stored = packing.slots(format, layer.mask) / (out * columns)
    dtype = layer.weight.dtype
    n, m = (*packing.pattern(format, layer.mask), 0, 0)[:2]
    return Problem(size.rows, out, columns, stored, dtype, values or dtype, pattern=(n, m))


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
    return Timing(size.rows, best[True] * 1e3, best[False] * 1e3, not pick.measured)


def measure(
    layer: DenseLayer, packed: Packed, size: Size, gpu: Gpu, values: torch.dtype | None
) -> None:
    """Time every candidate of a packed weight at this size; the backends keep the times."""
    sparse = layers.sparse(layer, packed).eval()
    if values is not None:
        sparse.store(values)
    x = size.random_x(layer)
    operands = Operands(
        x=x,
        values=sparse.values.detach(),
        index=sparse.index,
        bias=layer.bias,
        residual=None,
        scale=sparse.scale,
        dense=layer.weight,
        out_features=len(layer.weight),
        act="none",
    )

    def seconds(candidate: Candidate) -> float:
        return clock.seconds(lambda: candidate.run(operands), x.device)

    asked = problem(layer, packed.format, size, values)
    with torch.no_grad():
        registry.measure(packed.format, asked, gpu, seconds)


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
