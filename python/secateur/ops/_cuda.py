"""A linear op on a GPU: asks the backends which candidate runs a call, and calls it.

What was asked once is remembered by what decides it. No number is read from the device at a call:
the header of an index is read when its tensor is first seen, and kept beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from secateur.backends import _triton, gpus, registry
from secateur.backends.beside import beside
from secateur.backends.candidates import DENSE, Candidate, Operands, Problem
from secateur.backends.verdicts import VERDICTS
from secateur.formats import Header
from secateur.ops import _reference
from secateur.ops._call import Call, check

Fallback = Callable[[Call], Tensor]
_DECIDED: dict[object, Candidate | None] = {}


def linear(format: str, code: int, call: Call, fallback: Fallback) -> Tensor:
    """Run one call of a linear op.

    Args:
        format: of the weight.
        code: the format's number.
        call: the schema's arguments.
        fallback: what runs where no candidate does.

    Returns:
        [..., out], of x's dtype.
    """
    op = f"{format}_linear"
    key = _key(format, call)
    if key not in _DECIDED:
        header = beside(call.index, _header)
        check(op, code, call, header)
        _DECIDED[key] = _decide(format, call, header)
    elif beside(call.index, _header).format != code:
        check(op, code, call, beside(call.index, _header))
    candidate = _DECIDED[key]
    if call.x.numel() == 0 or candidate is None:
        return fallback(call)
    operands = _operands(call)
    y = candidate.run(operands)
    if candidate.fused:
        return y.reshape(call.y_shape)
    return _reference.finish(call, y)


def gradient(
    op: str,
    fallback: Callable[..., Tensor],
    grad_y: Tensor,
    other: Tensor,
    index: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """Run one call of a gradient: by a Triton kernel where one takes it, else by its definition."""
    run = _triton.gradient(op, grad_y, other, beside(index, _header))
    return (run or fallback)(grad_y, other, index, *args, **kwargs)


def _header(index: Tensor) -> Header:
    """Read the header of an index; on a GPU this waits for the device."""
    return Header.read(index)


def problem(call: Call, header: Header) -> Problem:
    """Return what of a call decides which candidate runs it."""
    columns = call.x.shape[-1]
    return Problem(
        rows=call.x.numel() // max(1, columns),
        out_features=call.out_features,
        in_features=columns,
        density=header.nnz / (header.out_features * header.in_features),
        dtype=call.x.dtype,
        values=call.values.dtype,
        act=call.act,
        residual=call.residual is not None,
        pattern=(header.n, header.m),
    )


def _key(format: str, call: Call) -> object:
    """Return everything that a check or a decision depends on, as far as no data is read."""
    tensors = (call.x, call.values, call.index, call.bias, call.residual, call.scale, call.dense)
    return (
        format,
        call.act,
        call.out_features,
        VERDICTS.generation,
        *[None if t is None else (t.shape, t.dtype, t.device, t.is_contiguous()) for t in tensors],
    )


def _decide(format: str, call: Call, header: Header) -> Candidate | None:
    if call.scale is None and call.values.dtype == torch.int8:
        return None
    gpu = gpus.of(call.x.device.index or 0)
    asked = problem(call, header)
    found = registry.pick(format, asked, gpu, dense=call.dense is not None).candidate
    if found is not None and found.format == DENSE and call.dense is None:
        return None
    return found


def _operands(call: Call) -> Operands:
    x = call.x.reshape(-1, call.x.shape[-1])
    x = x if x.stride(1) == 1 and x.stride(0) >= x.shape[1] else x.contiguous()
    residual = call.residual
    return Operands(
        x=x,
        values=call.values,
        index=call.index,
        bias=call.bias,
        residual=None if residual is None else residual.reshape(-1, call.out_features),
        scale=call.scale,
        dense=call.dense,
        out_features=call.out_features,
        act=call.act,
    )
