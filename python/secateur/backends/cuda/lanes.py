"""Unstructured weights as lane bitmaps, and N:32: load sparse, compute dense, few rows of x.

Many rows get the weight written out, for cuBLAS: a dense copy for the time of one call.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
from torch import Tensor

from secateur.backends import roofline
from secateur.backends.beside import beside
from secateur.backends.candidates import HALVES, Candidate, Operands, Problem, add
from secateur.backends.cuda import _library
from secateur.backends.cuda._semi import aligned, missing
from secateur.backends.gpus import Gpu
from secateur.backends.vendor import cublas
from secateur.formats import Header, lb32, n32

MOST_ROWS = 64  # of x: above, the dense product's tensor cores are no longer waiting for memory
MOST_KEPT = 24  # of 32: what is denser is no smaller as n32


def limits_n32(problem: Problem, gpu: Gpu) -> str | None:
    """Return why the kernel of N:32 cannot run `problem`, or None."""
    n = problem.pattern[0]
    return f"takes N:32 with N to {MOST_KEPT}, got {n}:32" if n > MOST_KEPT else None


def fullest(index: Tensor) -> int:
    """Return the most values of a tile of lb32, with what aligns the next; waits for the device."""
    head = Header.read(index)
    tiles = lb32.tiles(head.out_features, head.in_features)
    starts = head.section(index, "table", torch.int32, tiles + 1)
    return max(lb32.VALUE_ALIGNMENT, int(starts.diff().max()))


def _sections(format: str, call: Operands) -> tuple[tuple[int, int], int]:
    """Return where masks and table begin in the index, and N; by shapes alone."""
    columns = call.x.shape[1]
    if format == "lb32":
        return lb32.offsets(call.out_features, columns), 0
    return n32.offsets(), n32.kept(call.values.numel(), call.out_features, columns)


def _expanded(format: str, call: Operands) -> Tensor:
    """Return x Wᵀ + bias by cuBLAS, of the weight written out."""
    columns = call.x.shape[1]
    dense: Tensor = torch.ops.secateur.cuda_to_dense(
        ",".join(kernel.name for kernel in _library.of_op("to_dense", format)),
        call.values,
        call.index,
        *_sections(format, call),
        call.out_features,
        columns,
    )
    return cublas.run(replace(call, dense=dense[:, :columns]))


def _run(format: str, words: str, call: Operands) -> Tensor:
    offsets, n = _sections(format, call)
    most = beside(call.index, fullest) if format == "lb32" else 0
    y: Tensor = torch.ops.secateur.cuda_lane_linear(
        _library.able_names(format, words, call.x.dtype, call.x.device),
        aligned(call.x),
        call.values,
        call.index,
        offsets,
        n,
        most,
        None if call.bias is None else beside(call.bias, Tensor.float),
        None if call.residual is None else call.residual.contiguous(),
        call.out_features,
        call.act,
    )
    return y


add(
    Candidate(
        "lb32_gather",
        "lb32",
        HALVES,
        predict=roofline.lane_gather,
        run=functools.partial(_run, "lb32", "gather"),
        rows=(0, MOST_ROWS),
        missing=missing("lb32", "gather"),
    )
)
add(
    Candidate(
        "lb32_scatter",
        "lb32",
        HALVES,
        predict=roofline.lane_scatter,
        run=functools.partial(_run, "lb32", "scatter"),
        rows=(0, MOST_ROWS),
        missing=missing("lb32", "scatter"),
    )
)
add(
    Candidate(
        "n32_balanced",
        "n32",
        HALVES,
        predict=roofline.balanced,
        run=functools.partial(_run, "n32", "balanced"),
        rows=(0, MOST_ROWS),
        limits=limits_n32,
        missing=missing("n32", "balanced"),
    )
)
for _format in ("lb32", "n32"):
    add(
        Candidate(
            f"{_format}_expanded",
            _format,
            HALVES,
            predict=roofline.expanded,
            run=functools.partial(_expanded, _format),
            missing=functools.partial(_library.without_op, "to_dense", _format),
            fused=False,
        )
    )
