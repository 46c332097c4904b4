"""Kernels in Triton as candidates: their own table says what they take, this file what they cost.

Nothing here imports triton: that happens when one of them is first run.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from secateur.backends import roofline
from secateur.backends.candidates import ANY, HALVES, Candidate, Operands, Problem
from secateur.backends.gpus import Gpu
from secateur.backends.roofline import Work
from secateur.formats import DEFAULT_LAYOUT, Header
from secateur.formats.nm import nm_k_block

# The cost of a format's kernel; a format without an entry here is no candidate.
COSTS: dict[str, Callable[[Work, Gpu], float]] = {
    "bsr": roofline.blocks,
    "nm": roofline.expanded_nm,
}


@functools.cache
def table() -> Any:
    """Return the table of Triton kernels, or None where the room is not there."""
    if importlib.util.find_spec("secateur.backends.triton") is None:
        return None
    return importlib.import_module("secateur.backends.triton.table")


def entry(op: str) -> Any:
    """Return the entry of an op in torch's namespace `secateur`, or None."""
    found = table()
    return found.KERNELS.get(op) if found is not None and op in found.KERNELS.names() else None


def gradient(op: str, first: Tensor, second: Tensor, header: Header | None) -> Any:
    """Return the function that computes a gradient of these operands on their GPU, or None.

    Args:
        op: "bsr_linear_dx" and the like.
        first: the gradient of y.
        second: the values or the weight, or x.
        header: of the packed weight, if the op has one.
    """
    known = entry(op)
    if known is None or table().missing():
        return None
    major, minor = torch.cuda.get_device_capability(first.device)
    asked = table().Problem(first.dtype, second.dtype, header)
    return None if known.refuses(asked, 10 * major + minor) else known.run


@functools.cache
def candidates(format: str) -> tuple[Candidate, ...]:
    """Return the Triton kernel of a format, as a candidate."""
    known = entry(f"{format}_linear_infer") if format in COSTS else None
    if known is None:
        return ()
    return (
        Candidate(
            f"triton_{format}",
            format,
            known.dtypes & HALVES,  # the model has no rates for float32
            predict=COSTS[format],
            run=functools.partial(_run, known),
            capability=(known.capability, ANY),
            limits=functools.partial(_limits, known),
            missing=table().missing,
        ),
    )


def formats() -> set[str]:
    """Return the formats that have a Triton kernel."""
    return {format for format in COSTS if candidates(format)}


def _run(known: Any, call: Operands) -> Tensor:
    tensors = (call.x, call.values, call.index, call.bias, call.residual, call.scale)
    y: Tensor = known.run(*tensors, out_features=call.out_features, act=call.act)
    return y


def _limits(known: Any, problem: Problem, gpu: Gpu) -> str | None:
    n, m = problem.pattern
    header = Header(
        in_features=problem.in_features,
        out_features=problem.out_features,
        nnz=round(problem.density * problem.in_features * problem.out_features),
        n=n,
        m=m,
        k_block=nm_k_block(m or 1),  # as packing cuts the weight unasked
        row_block=DEFAULT_LAYOUT.row_block,
    )
    why: str | None = known.limits(table().Problem(problem.dtype, problem.values, header))
    return why
