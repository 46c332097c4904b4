"""How a 2:4 weight of any of our layouts reaches a compiled kernel."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from secateur.backends.beside import beside
from secateur.backends.candidates import Operands, Problem
from secateur.backends.cuda import _library
from secateur.backends.gpus import Gpu
from secateur.formats import FORMATS
from secateur.formats._pairs import Pairs
from secateur.formats.header import HEADER_BYTES

ALIGNED = 8  # elements of x that are copied at once


def limits(problem: Problem, gpu: Gpu) -> str | None:
    """Return why a 2:4 kernel cannot run `problem`, or None."""
    if problem.in_features % ALIGNED:
        return f"needs in_features divisible by {ALIGNED}, got {problem.in_features}"
    return None


def runner(format: str, layout: str) -> Callable[[Operands], Tensor]:
    """Return the function that runs a call by the first kernel of `layout`."""
    return functools.partial(_run, format, layout)


def missing(layout: str) -> Callable[[], str]:
    """Return the function that says why no kernel of `layout` is here."""
    return functools.partial(_library.without, layout)


def _run(format: str, layout: str, call: Operands) -> Tensor:
    packer = FORMATS.get(format)
    assert isinstance(packer, Pairs)
    sides = packer.padded(call.out_features, call.x.shape[1])
    y: Tensor = torch.ops.secateur.cuda_nm_linear(
        _library.named(layout, call.x.device),
        aligned(call.x),
        call.values,
        call.index,
        HEADER_BYTES,
        None if call.bias is None else beside(call.bias, Tensor.float),
        None if call.residual is None else call.residual.contiguous(),
        call.scale,
        call.out_features,
        *sides,
        call.act,
    )
    return y


def aligned(x: Tensor) -> Tensor:
    """Return x, copied where its rows do not begin at multiples of 16 bytes."""
    if x.data_ptr() % 16 == 0 and x.stride(0) * x.element_size() % 16 == 0:
        return x
    return x.clone(memory_format=torch.contiguous_format)
