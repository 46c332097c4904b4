"""An op on a GPU: asks the backends which candidate runs a call, and calls it.

What was asked once is remembered by what decides it. No number is read from the device at a call:
the header of an index is read when its tensor is first seen, and kept beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from secateur.ops._conv_call import ConvCall

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

    def ask(header: Header) -> Problem:
        check(f"{format}_linear", code, call, header)
        return problem(call, header)

    candidate = chosen(format, (format, *_key(call)), code, call, ask)
    if call.x.numel() == 0 or candidate is None:
        return fallback(call)
    if candidate.fused and alike(call):
        return candidate.run(_operands(call)).reshape(call.y_shape)
    bare = replace(call, residual=None, act="none")
    return _reference.finish(call, candidate.run(_operands(bare)))


def alike(call: Call | ConvCall) -> bool:
    """Tell whether a kernel can add the residual: it reads what is of x's dtype."""
    return call.residual is None or call.residual.dtype == call.x.dtype


def chosen(
    format: str, key: object, code: int, call: Call | ConvCall, ask: Callable[[Header], Problem]
) -> Candidate | None:
    """Return the candidate of a call, None where the definition runs; see the top of this file.

    Args:
        format: of the weight.
        key: all that a check or a decision depends on, as far as no data is read.
        code: the format's number.
        call: the schema's arguments.
        ask: checks the call against the header of its index, and says what is asked.
    """
    if key not in _DECIDED:
        _DECIDED[key] = _decide(format, call, ask(beside(call.index, _header)))
    elif beside(call.index, _header).format != code:
        ask(beside(call.index, _header))
    return _DECIDED[key]


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


def density(header: Header) -> float:
    """Return the fraction of a weight that is stored."""
    return header.nnz / (header.out_features * header.in_features)


def problem(call: Call, header: Header) -> Problem:
    """Return what of a call decides which candidate runs it."""
    columns = call.x.shape[-1]
    return Problem(
        rows=call.x.numel() // max(1, columns),
        out_features=call.out_features,
        in_features=columns,
        density=density(header),
        dtype=call.x.dtype,
        values=call.values.dtype,
        act=call.act,
        residual=call.residual is not None,
        pattern=(header.n, header.m),
    )


def _key(call: Call) -> tuple[object, ...]:
    """Return everything that a check or a decision depends on, as far as no data is read."""
    return (call.act, call.out_features, *seen(call))


def seen(call: Call | ConvCall) -> tuple[object, ...]:
    """Return what of a call's tensors a check or a decision depends on, and how old times are."""
    tensors = (call.x, call.values, call.index, call.bias, call.residual, call.scale, call.dense)
    each = [None if t is None else (t.shape, t.dtype, t.device, t.is_contiguous()) for t in tensors]
    return (VERDICTS.generation, *each)


def _decide(format: str, call: Call | ConvCall, asked: Problem) -> Candidate | None:
    if call.scale is None and call.values.dtype == torch.int8:
        return None
    gpu = gpus.of(call.x.device.index or 0)
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
