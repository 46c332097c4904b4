"""How a 2:4 weight of any of our layouts reaches a compiled kernel."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.backends.beside import beside
from secateur.backends.candidates import Operands
from secateur.backends.cuda import _library
from secateur.backends.roofline import Work
from secateur.formats._pairs import packer
from secateur.formats.header import HEADER_BYTES

_COPIED = 16  # bytes of x that are copied at once


def runner(format: str, layout: str, words: str = "") -> Callable[[Operands], Tensor]:
    """Return the function that runs a call by a kernel of a family, see `_library.family`."""
    return functools.partial(_run, format, layout, words)


def missing(layout: str, words: str = "") -> Callable[[], str]:
    """Return the function that says why no kernel of a family is here."""
    return functools.partial(_library.without, layout, words)


def _run(format: str, layout: str, words: str, call: Operands) -> Tensor:
    rows, columns = call.x.shape
    work = Work(rows, call.out_features, columns, density=0.5)
    y: Tensor = torch.ops.secateur.cuda_nm_linear(
        _library.named(layout, words, call.x.dtype, work, call.x.device),
        aligned(call.x),
        call.values,
        call.index,
        HEADER_BYTES,
        None if call.bias is None else beside(call.bias, Tensor.float),
        None if call.residual is None else call.residual.contiguous(),
        call.scale,
        None,
        call.out_features,
        *packer(format).padded(call.out_features, columns),
        call.act,
    )
    return y


def aligned(x: Tensor) -> Tensor:
    """Return x, copied where its rows do not begin at multiples of 16 bytes."""
    size = x.element_size()
    if x.data_ptr() % _COPIED == 0 and x.stride(0) * size % _COPIED == 0:
        return x
    columns = x.shape[1]
    return F.pad(x, (0, -columns % (_COPIED // size))).contiguous()[:, :columns]
