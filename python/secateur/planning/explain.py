"""What became of each layer of a converted model, and why: told, not measured again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from secateur import _extension
from secateur.backends import cpu, cuda, gpus, registry
from secateur.backends.candidates import DENSE
from secateur.formats import Header
from secateur.nn import packing
from secateur.nn.convert import sparse_modules
from secateur.nn.sparse_layer import SparseLayer
from secateur.planning import gpu as on_gpu
from secateur.planning import record
from secateur.planning.record import LayerRecord
from secateur.planning.table import bytes_text, ms_text, ratio_text, table

_MANY = 64  # rows of x: a row count for which each op has its most general kernel


class Row(NamedTuple):
    """One layer at one row count; a layer that no row count is known for has one row without.

    Attributes:
        layer: its name in the model.
        op: "csr_linear" and the like, or "dense".
        kernel: the kernel that runs at this row count, "reference", "torch" where dense runs, or
            "" without a row count.
        rows: row count, of a convolution pixels of y, or None.
        dense_ms: milliseconds of the dense layer, or None.
        sparse_ms: milliseconds of the sparse layer, or None.
        speedup: dense_ms / sparse_ms, or None.
        predicted: whether the times come from the cost model.
        bytes_dense: of the dense weight.
        bytes_now: of the weight as it is held now, the copies included that it keeps.
        reason: why the layer is sparse or not.
    """

    layer: str
    op: str
    kernel: str
    rows: int | None
    dense_ms: float | None
    sparse_ms: float | None
    speedup: float | None
    predicted: bool
    bytes_dense: int
    bytes_now: int
    reason: str


@dataclass(frozen=True)
class Explanation:
    """The answer of `explain`; `print` shows it.

    Attributes:
        rows: one for each layer and row count.
        layers: what was decided, one for each layer.
        machine: words for the machine that decided; "" where nothing was recorded.
        warning: what makes everything slow here, or "".
    """

    rows: tuple[Row, ...]
    layers: tuple[LayerRecord, ...]
    machine: str
    warning: str

    def __str__(self) -> str:
        header = ("layer", "op", "kernel", "rows", "dense ms", "sparse ms", "speed-up", "bytes")
        if not self.layers:
            return "There is nothing to explain: sc.convert did not make this model."
        lines = [self.machine] if self.machine else []
        lines.append(table(header, [_cells(row) for row in self.rows], left=(0, 1, 2)))
        lines += [""] + [
            f"{layer.name or '(model)'}: {'sparse' if layer.taken else 'dense'}: {text}"
            for layer in self.layers
            for text in (_reason(layer), *_rejections(layer), *layer.candidates)
        ]
        if any(row.predicted for row in self.rows):
            lines += ["", "Times marked ~ are predicted by the cost model, not measured."]
        if self.warning:
            lines += ["", self.warning]
        return "\n".join(lines)


def explain(model: nn.Module) -> Explanation:
    """Tell what `convert` decided for each layer of `model`, and what runs now.

    Layers made sparse by hand are listed too, without times.

    Raises:
        TypeError: if `model` is no module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: wanted a torch.nn.Module, got {type(model).__name__}")
    sparse = dict(sparse_modules(model))
    layers = [_current(note, sparse.get(note.name)) for note in record.find(model)]
    known = {note.name for note in layers}
    layers += [_unrecorded(name, layer) for name, layer in sparse.items() if name not in known]
    rows = tuple(row for note in layers for row in _rows(note, sparse.get(note.name)))
    return Explanation(rows, tuple(layers), _machine(model), _warning(sparse.values()))


def _current(note: LayerRecord, layer: SparseLayer | None) -> LayerRecord:
    """Bring a record up to what the layer is now: it may have been repacked or made dense."""
    if layer is None:
        return note if not note.taken else _as_dense(note)
    fields = {
        **note.__dict__,
        "taken": True,
        "format": layer.format,
        "sparsity": layer.sparsity,
        "keeps_dense": layer.dense is not None,
        "bytes_sparse": layer.weight_bytes,
    }
    return LayerRecord(**fields)


def _as_dense(note: LayerRecord) -> LayerRecord:
    fields = {
        **note.__dict__,
        "taken": False,
        "format": None,
        "keeps_dense": False,
        "bytes_sparse": note.bytes_dense,
        "reason": "it was sparse, and has been replaced since",
    }
    return LayerRecord(**fields)


def _unrecorded(name: str, layer: SparseLayer) -> LayerRecord:
    shape = layer.matrix_shape
    note = LayerRecord(name, type(layer).__name__, shape, layer.sparsity, taken=True)
    note.format, note.keeps_dense = layer.format, layer.dense is not None
    note.reason = "made by hand; never measured"
    note.bytes_dense = shape[0] * shape[1] * layer.values.element_size()
    note.bytes_sparse = layer.weight_bytes
    return note


def _rows(note: LayerRecord, layer: SparseLayer | None) -> Iterator[Row]:
    op = "dense" if layer is None else layer.op
    sizes = (note.bytes_dense, note.bytes_sparse, note.reason)
    timings = {timing.rows: timing for timing in note.timings}
    counts: list[int | None] = [*note.rows] or [None]
    images = dict(zip(note.rows, note.images, strict=False))
    for count in counts:
        kernel = "" if count is None else _kernel(layer, count, images.get(count))
        timing = timings.get(count or 0)
        times: tuple[float | None, float | None, float | None, bool] = (None, None, None, False)
        if timing is not None:
            times = (timing.dense_ms, timing.sparse_ms, timing.speedup, timing.predicted)
        yield Row(note.name, op, kernel, count, *times, *sizes)


def _kernel(layer: SparseLayer | None, rows: int, image: tuple[int, int, int] | None) -> str:
    """Name what runs at this row count, or on such an image, on the layer's device."""
    if layer is None:
        return "torch"
    header = Header.read(layer.index)
    if layer.dense is not None and header.verdict(rows) == "dense":
        return "torch"
    if layer.format in packing.BY_TORCH:
        return "torch"
    if layer.index.is_cuda:
        return _on_gpu(layer, rows, image)
    if not _extension.load() or _without_kernel(layer):
        return registry.REFERENCE
    plain = layer.values.dtype == torch.float32
    return cpu.pick(layer.op, layer.index, rows, plain=plain)


def _on_gpu(layer: SparseLayer, rows: int, image: tuple[int, int, int] | None = None) -> str:
    """Name the candidate that the backends pick for a layer on a GPU."""
    asked = on_gpu.called(layer, rows, image)
    device = gpus.of(layer.index.device.index or 0)
    picked = registry.pick(layer.format, asked, device, dense=layer.dense is not None)
    dense = picked.candidate is not None and picked.candidate.format == DENSE
    return "torch" if dense else picked.name


def _machine(model: nn.Module) -> str:
    for module in model.modules():
        found: record.Record | None = module.__dict__.get(record.ATTRIBUTE)
        if found is not None:
            plural = "s" * (found.threads != 1)
            return f"gate={found.gate!r} on {found.machine}, {found.threads} thread{plural}"
    return ""


def _without_kernel(layer: SparseLayer) -> str:
    """Return what about a layer keeps compiled kernels from running it, or ""."""
    if layer.index.is_cuda:
        return "" if _on_gpu(layer, 1) != registry.REFERENCE else "CUDA"
    if not layer.index.is_cpu:
        return str(layer.index.device)
    if layer.format in packing.ON_GPU_ONLY:
        return f"{layer.format} on the CPU"
    dtype = layer.values.dtype
    if dtype in (torch.float32, torch.float64):
        return "" if dtype == torch.float32 else "float64"
    kernel = cpu.pick(layer.op, layer.index, _MANY, plain=False)
    return (
        f"{str(dtype).removeprefix('torch.')} {layer.format}"
        if kernel == registry.REFERENCE
        else ""
    )


def _warning(layers: Iterable[SparseLayer]) -> str:
    layers = [layer for layer in layers if layer.format not in packing.BY_TORCH]
    if any(layer.index.is_cuda for layer in layers) and cuda.why_not():
        return f"Sparse layers are right but slow here: {cuda.why_not()}."
    if layers and not _extension.load():
        return f"Sparse layers are right but slow here: {_extension.reason()}"
    kinds = sorted({_without_kernel(layer) for layer in layers} - {""})
    if not kinds:
        return ""
    return (
        f"Sparse layers are right but slow here: there are kernels for float32, bfloat16, "
        f"float16 and int8 on the CPU, and none for {', '.join(kinds)}."
    )


def _cells(row: Row) -> tuple[str, ...]:
    mark = "~" if row.predicted else ""
    return (
        row.layer or "(model)",
        row.op,
        row.kernel,
        "" if row.rows is None else str(row.rows),
        "" if row.dense_ms is None else mark + ms_text(row.dense_ms),
        "" if row.sparse_ms is None else mark + ms_text(row.sparse_ms),
        "" if row.speedup is None else mark + ratio_text(row.speedup),
        f"{bytes_text(row.bytes_dense)} -> {bytes_text(row.bytes_now)}",
    )


def _rejections(layer: LayerRecord) -> list[str]:
    """Return a line for each format not taken, unless the reason has said it already."""
    if not layer.taken and len(layer.rejected) < 2:
        return []
    return [f"not taken: {line}" for line in layer.rejected]


def _reason(layer: LayerRecord) -> str:
    kept = ", with a dense copy for the others" if layer.keeps_dense else ""
    return layer.reason + kept
