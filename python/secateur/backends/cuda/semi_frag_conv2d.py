"""2:4 convolution in fragment order: a product whose rows are read from the image as it lies."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from secateur.backends import gpus, roofline
from secateur.backends.beside import beside
from secateur.backends.candidates import HALVES, Candidate, Operands, Problem, add
from secateur.backends.convolution import Convolution
from secateur.backends.cuda import _library
from secateur.backends.cuda._library import Kernel
from secateur.backends.cuda._semi import aligned
from secateur.backends.gpus import Gpu
from secateur.backends.roofline import Work
from secateur.formats.header import HEADER_BYTES
from secateur.formats.semi_frag import SEMI_FRAG

_OP, _LAYOUT = "nm_conv2d", "fragment24"
CHUNK = 8  # channels that are copied at once: 16 bytes
MOST_TAPS = 15
_MOST_GROUPS = 65535
_LARGEST = 2**20  # of a side of the image with what is around it
_MOST_PIXELS = 2**31 - 1  # of x with its padding, and of y
_TILE = 128  # pixels of y, the most that a block may pass its end by


def limits(problem: Problem, gpu: Gpu) -> str | None:
    """Return why the kernels cannot run `problem`, or None: what they would refuse, in words.

    Their last limit, 2^28 tiles of y, is beyond any memory.
    """
    conv = problem.convolution
    assert conv is not None
    (batch, channels, *sides), groups = conv.image, conv.groups
    if channels // groups % CHUNK:
        return f"takes channels of a group divisible by {CHUNK}, got {channels // groups}"
    outputs = problem.out_features // groups
    if groups > 1 and outputs % SEMI_FRAG.row_tile:
        return f"takes outputs of a group divisible by {SEMI_FRAG.row_tile}, got {outputs}"
    if groups > _MOST_GROUPS:
        return f"takes at most {_MOST_GROUPS} groups, got {groups}"
    if max(conv.kernel_size) > MOST_TAPS:
        kernel = "{} by {}".format(*conv.kernel_size)
        return f"takes kernels of at most {MOST_TAPS} by {MOST_TAPS}, got {kernel}"
    before = (conv.padding[2], conv.padding[0])
    parts = (sides, before, conv.out_size, conv.stride, conv.kernel_size, conv.dilation)
    high, wide = (
        size + pad + out * stride + kernel * dilation
        for size, pad, out, stride, kernel, dilation in zip(*parts, strict=True)
    )
    if max(high, wide) > _LARGEST:
        return (
            "takes at most 2^20 pixels on a side, with those that a kernel may reach around an "
            f"image, got {high} by {wide}"
        )
    if max((batch + 1) * high * wide, conv.rows + _TILE, channels) > _MOST_PIXELS:
        return (
            "takes fewer than 2^31 pixels, with those that a kernel may reach around an image, "
            f"got {batch + 1} x {high} x {wide}"
        )
    return None


def run(call: Operands) -> Tensor:
    """Return act(conv2d(x, W) + bias) and the residual, channels_last."""
    conv = call.convolution
    assert conv is not None
    out, groups = call.out_features, conv.groups
    residual = None if call.residual is None else call.residual.movedim(1, -1).contiguous()
    y: Tensor = torch.ops.secateur.cuda_nm_conv2d(
        named(call.x.dtype, conv, out, call.x.device),
        pixels(call.x),
        call.values,
        call.index,
        HEADER_BYTES,
        None if call.bias is None else beside(call.bias, Tensor.float),
        residual,
        out,
        conv.out_size,
        conv.kernel_size,
        conv.stride,
        (conv.padding[2], conv.padding[0]),
        conv.dilation,
        groups,
        *SEMI_FRAG.padded(out, conv.columns),
        call.act,
        call.residual_first,
    )
    return y.movedim(-1, 1)


def in_order(type: torch.dtype, work: Work, gpu: Gpu) -> list[Kernel]:
    """Return the kernels that a GPU runs on x of a type, the fastest by the model first."""

    def cost(kernel: Kernel) -> tuple[float, int]:
        high, wide, _ = kernel.tile
        return roofline.semi_convolution_tile(work, gpu, (high, wide)), -high * wide

    return sorted(_library.able(_library.of_op(_OP, _LAYOUT), type, gpu), key=cost)


@functools.lru_cache(maxsize=4096)
def named(type: torch.dtype, conv: Convolution, out: int, device: torch.device) -> str:
    """Return the names of the kernels for a call, see `in_order`."""
    work = Problem.of_convolution(conv, out, 0.5, values=type).work
    return _library.names(in_order(type, work, gpus.of(device.index or 0)))


def pixels(x: Tensor) -> Tensor:
    """Return x [N, C, H, W] as [N, H, W, C]: a view where it lies so, pixels evenly apart."""
    batch, channels, high, wide = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
    even = rows.stride(1) == 1 and rows.stride(0) >= channels
    return aligned(rows if even else rows.contiguous()).view(batch, high, wide, channels)


add(
    Candidate(
        "semi_frag_conv2d",
        "semi_frag",
        HALVES,
        predict=roofline.semi_convolution,
        run=run,
        limits=limits,
        missing=functools.partial(_library.without_op, _OP, _LAYOUT),
        convolves=True,
    )
)
