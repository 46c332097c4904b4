"""A convolution op on a GPU: what _cuda.py is to a linear one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from secateur.backends.candidates import Operands, Problem
from secateur.formats import Header
from secateur.ops import _cuda
from secateur.ops._conv_call import ConvCall, check_conv
from secateur.ops._images import finished, memory_format


def conv2d(
    format: str, code: int, call: ConvCall, fallback: Callable[[ConvCall], Tensor]
) -> Tensor:
    """Run one call of a convolution op.

    Args:
        format: of the weight.
        code: the format's number.
        call: the schema's arguments.
        fallback: what runs where no candidate does.

    Returns:
        [N, out, H', W'], of x's dtype and memory format.
    """

    def ask(header: Header) -> Problem:
        check_conv(f"{format}_conv2d", code, call, header)
        return problem(call, header)

    candidate = _cuda.chosen(format, (format, *_key(call)), code, call, ask)
    if call.x.numel() == 0 or call.rows == 0 or candidate is None:
        return fallback(call)
    if candidate.fused and _cuda.alike(call):
        y = candidate.run(_operands(call))
        return y.contiguous(memory_format=memory_format(call.x))
    return finished(call, candidate.run(_operands(replace(call, residual=None, act="none"))))


def problem(call: ConvCall, header: Header) -> Problem:
    """Return what of a call decides which candidate runs it."""
    return Problem.of_convolution(
        call.convolution,
        call.out_channels,
        _cuda.density(header),
        dtype=call.x.dtype,
        values=call.values.dtype,
        act=call.act,
        residual=call.residual is not None,
        pattern=(header.n, header.m),
    )


def _key(call: ConvCall) -> tuple[object, ...]:
    shape = (call.kernel_size, call.stride, call.padding, call.dilation)
    said = (call.out_channels, call.groups, call.act, call.residual_first)
    return ("conv2d", *map(tuple, shape), *said, *_cuda.seen(call))


def _operands(call: ConvCall) -> Operands:
    return Operands(
        x=call.x,
        values=call.values,
        index=call.index,
        bias=call.bias,
        residual=call.residual,
        scale=call.scale,
        dense=call.dense,
        out_features=call.out_channels,
        act=call.act,
        convolution=call.convolution,
        residual_first=call.residual_first,
    )
