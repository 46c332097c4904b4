"""int8 x times a 2:4 weight of int8, y in float32: for those who ask for it, by its own name.

It is no candidate of the linear op, and registers nothing: to quantize x changes the result.

    layer = sc.SparseLinear.from_dense(linear, format="semi8").store(torch.int8)
    packed = Packed("semi8", layer.values, layer.index, layer.in_features, layer.out_features)
    y = product(*quantize_rows(x), packed, layer.scale, layer.bias)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from secateur.backends import roofline
from secateur.backends.activations import ACTIVATIONS
from secateur.backends.beside import beside
from secateur.backends.cuda import _library, _semi
from secateur.formats import Header
from secateur.formats._pairs import packer
from secateur.formats.base import Packed
from secateur.formats.header import HEADER_BYTES

FORMAT, LAYOUT = "semi8", "torch24"
MOST_COLUMNS = 2**18 - 4
"""Half of them kept, of at most 2^7 times 2^7 each, are summed in int32."""
DEVICE = "cuda"  # where x lies that the kernels take
_LARGEST = 127
_WIDE = 16  # columns in what is copied at once


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x as int8, and the scale of each row: symmetric, the largest of a row is 127.

    Nothing waits for a device. A row of zeros has scale 1. A row with a NaN or an infinity in it,
    or a number beyond float32, gets zeros and the scale NaN, so that all its y is NaN.

    Args:
        x: [rows, in], floating.

    Returns:
        int8 [rows, in], and float32 [rows]; x is scale * int8, within half a scale.

    Raises:
        TypeError: if x is not floating.
        ValueError: if it is not 2-D, or has no columns.
    """
    if not x.is_floating_point():
        raise TypeError(f"quantize_rows: x must be floating, got {x.dtype}")
    if x.dim() != 2 or x.shape[1] == 0:
        raise ValueError(
            f"quantize_rows: x must be [rows, in] with columns, got {list(x.shape)}; reshape it"
        )
    numbers = x.detach().float()
    largest = numbers.abs().amax(1)
    # By a tensor: CUDA would multiply by a number's reciprocal, and round unlike the CPU.
    scale = largest / torch.full_like(largest, _LARGEST)
    scale = torch.where(scale == 0, 1.0, scale)  # of zeros, or of numbers too small to be divided
    scale = torch.where(largest.isfinite(), scale, torch.nan)
    whole = (numbers / scale[:, None]).round().clamp(-_LARGEST, _LARGEST)
    return whole.nan_to_num(0).to(torch.int8), scale


@torch.no_grad()
def product(  # noqa: PLR0913  what the kernels fuse
    x: Tensor,
    x_scale: Tensor | None,
    packed: Packed,
    scale: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    act: str = "none",
) -> Tensor:
    """Return act(scale * x_scale * (x Wᵀ) + bias) + residual; the sums are exact, in int32.

    By a kernel where there is one (see `kernels`), else by `defined`. There is no gradient.

    Args:
        x: [rows, in], int8; see `quantize_rows`.
        x_scale: [rows], float32; None: ones.
        packed: [out, in] in the format "semi8", of int8.
        scale: [out], float32.
        bias: [out], floating; or None.
        residual: [rows, out], float32; or None.
        act: "none", "relu", "gelu", "gelu_tanh", "silu" or "relu6".

    Returns:
        [rows, out], float32.

    Raises:
        TypeError: on a wrong dtype.
        ValueError: on a wrong shape, device, format or activation.
    """
    tensors = {"x_scale": x_scale, "scale": scale, "bias": bias, "residual": residual}
    _check_weight(x, packed, act)
    _check_others(x, packed.out_features, tensors)
    names = kernels(x, packed.out_features)
    if not names:
        return defined(x, x_scale, packed, scale, bias, residual, act)
    columns = x.shape[1]
    if columns > 1 and (x.stride(1) != 1 or x.stride(0) < columns):
        x = x.contiguous()
    y: Tensor = torch.ops.secateur.cuda_nm_linear(
        names,
        _semi.aligned(x) if columns % _WIDE == 0 else x,  # else the kernel for x anywhere runs
        packed.values,
        packed.index,
        HEADER_BYTES,
        None if bias is None else beside(bias, _plain),
        None if residual is None else residual.contiguous(),
        scale.contiguous(),
        None if x_scale is None else x_scale.contiguous(),
        packed.out_features,
        *packer(FORMAT).padded(packed.out_features, columns),
        act,
    )
    return y


def kernels(x: Tensor, out_features: int) -> str:
    """Return the kernels that `product` asks, names parted by commas, best first; else "".

    Where it is "", `secateur.backends.cuda.why_not` says why, unless x is not on a GPU.
    """
    if x.device.type != DEVICE:
        return ""
    work = roofline.int8_work(len(x), out_features, x.shape[1])
    return _library.named(LAYOUT, "", torch.int8, work, x.device)


def defined(  # noqa: PLR0913  as `product`
    x: Tensor,
    x_scale: Tensor | None,
    packed: Packed,
    scale: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    act: str = "none",
) -> Tensor:
    """Return what `product` is: its definition in plain torch, on any device, slowly.

    float64 sums whole numbers exactly here: none is beyond int32.
    """
    weight = packer(FORMAT).unpacked_by_torch(packed.values, packed.index)
    sums = (x.double() @ weight.double().T).float()
    y = sums * (scale if x_scale is None else scale * x_scale[:, None])
    y = ACTIVATIONS[act].forward(y if bias is None else y + bias.float())
    return y if residual is None else y + residual


def _plain(bias: Tensor) -> Tensor:
    return bias.detach().float().contiguous()


def _header(index: Tensor) -> Header:
    return Header.read(index)


def _check_weight(x: Tensor, packed: Packed, act: str) -> None:
    """Check x against the weight; the header of an index is read once."""
    if act not in ACTIVATIONS:
        raise ValueError(f"product: act must be one of {', '.join(ACTIVATIONS)}, got {act!r}")
    if x.dtype != torch.int8:
        raise TypeError(f"product: x must be int8, got {x.dtype}; see quantize_rows")
    if packed.format != FORMAT or packed.values.dtype != torch.int8:
        raise TypeError(
            f"product: packed must be of the format {FORMAT!r} and int8, got {packed.format!r} "
            f"of {packed.values.dtype}; see SparseLinear.store"
        )
    if {packed.values.device, packed.index.device} != {x.device}:
        raise ValueError(
            f"product: packed is on {packed.values.device} and {packed.index.device}, but x is on "
            f"{x.device}; move one of them"
        )
    head = beside(packed.index, _header)
    sides = (head.out_features, head.in_features)
    claimed, slots = (
        (packed.out_features, packed.in_features),
        math.prod(packer(FORMAT).padded(*sides)),
    )
    if head.format != packer(FORMAT).code or sides != claimed or packed.values.numel() < slots // 2:
        raise ValueError(
            f"product: packed says that it is {list(claimed)} and has {packed.values.numel()} "
            f"values, but its index is of {list(sides)}, {slots // 2} values and more, in format "
            f"number {head.format}; pass it as Format.pack made it"
        )
    if x.dim() != 2 or x.shape[1] != sides[1]:
        raise ValueError(f"product: x must be [rows, {sides[1]}], got {list(x.shape)}")
    if sides[1] > MOST_COLUMNS:
        raise ValueError(
            f"product: in_features must be at most {MOST_COLUMNS}, got {sides[1]}: int32 holds no "
            "larger sum; split the weight"
        )


def _check_others(x: Tensor, out_features: int, tensors: dict[str, Tensor | None]) -> None:
    shapes = {"x_scale": [len(x)], "residual": [len(x), out_features]}
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        fits = tensor.is_floating_point() if name == "bias" else tensor.dtype == torch.float32
        if not fits:
            wanted = "floating" if name == "bias" else "float32"
            raise TypeError(f"product: {name} must be {wanted}, got {tensor.dtype}; convert it")
        if tensor.device != x.device:
            raise ValueError(
                f"product: {name} is on {tensor.device} but x is on {x.device}; move one of them"
            )
        shape = shapes.get(name, [out_features])
        if list(tensor.shape) != shape:
            raise ValueError(f"product: {name} must be {shape}, got {list(tensor.shape)}")
