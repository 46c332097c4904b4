"""The arguments of a linear op, and their one check. Nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.backends.activations import ACTIVATIONS
from secateur.formats import Header
from secateur.formats.layout import VALUE_PADDING

_FLOATING = ("x", "values", "bias", "residual", "dense")


@dataclass(frozen=True)
class Call:
    """One call of a linear op, its fields in the order of the schema."""

    x: Tensor  # [..., in]
    values: Tensor  # [slots and padding]
    index: Tensor  # [bytes], uint8
    bias: Tensor | None = None  # [out]
    residual: Tensor | None = None  # [..., out]
    scale: Tensor | None = None  # [out], float32, with int8 values
    dense: Tensor | None = None  # [out, in]
    transposed: Tensor | None = None  # [bytes], uint8
    out_features: int = 0
    act: str = "none"

    @property
    def y_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return (*self.x.shape[:-1], self.out_features)


def check(op: str, code: int, call: Call, header: Header | None) -> None:
    """Check one call of a linear op; the only place that does.

    Args:
        op: its name, for messages.
        code: the format's number in the header.
        call: the arguments.
        header: of call.index; None while tracing, where there is no data to read it from.

    Raises:
        TypeError: on a wrong dtype.
        ValueError: on anything else.
    """
    if call.act not in ACTIVATIONS:
        raise ValueError(f"{op}: act must be one of {', '.join(ACTIVATIONS)}, got {call.act!r}")
    _check_dtypes(op, call)
    _check_devices(op, call)
    _check_shapes(op, call)
    if header is not None:
        _check_header(op, code, call, header)


def check_transposed(op: str, transposed: Tensor, header: Header) -> None:
    """Check that `transposed` indexes the transpose of the weight that `header` describes.

    Raises:
        ValueError: if it indexes another one.
    """
    other = Header.read(transposed)
    theirs = (other.in_features, other.out_features, other.nnz)
    ours = (header.out_features, header.in_features, header.nnz)
    if theirs != ours:
        raise ValueError(
            f"{op}: transposed is of a weight with (out, in, kept) = {theirs}, but index of one "
            f"with {ours}; pass Format.transpose(index)"
        )


def _check_dtypes(op: str, call: Call) -> None:
    quantized = call.values.dtype == torch.int8
    if quantized != (call.scale is not None):
        raise TypeError(
            f"{op}: int8 values and scale go together, got values of {call.values.dtype} and "
            f"{'a' if call.scale is not None else 'no'} scale; see SparseLinear.quantize"
        )
    if call.scale is not None and call.scale.dtype != torch.float32:
        raise TypeError(f"{op}: scale must be float32, got {call.scale.dtype}; convert it first")
    names = ("x", "bias", "residual", "dense") if quantized else _FLOATING
    for name in names:
        tensor = getattr(call, name)
        if tensor is not None and not tensor.dtype.is_floating_point:
            raise TypeError(f"{op}: {name} must be floating, got {tensor.dtype}; convert it first")
    for name in ("index", "transposed"):
        tensor = getattr(call, name)
        if tensor is not None and tensor.dtype != torch.uint8:
            raise TypeError(f"{op}: {name} must be uint8, got {tensor.dtype}; see secateur.formats")


def _check_devices(op: str, call: Call) -> None:
    for name in ("values", "index", "bias", "residual", "dense", "transposed"):
        tensor = getattr(call, name)
        if tensor is not None and tensor.device != call.x.device:
            raise ValueError(
                f"{op}: {name} is on {tensor.device} but x is on {call.x.device}; move one of them"
            )


def _check_shapes(op: str, call: Call) -> None:
    if call.x.dim() == 0:
        raise ValueError(f"{op}: x must be [..., in_features], got a tensor without dimensions")
    for name in ("values", "index", "transposed"):
        tensor = getattr(call, name)
        if tensor is not None and (tensor.dim() != 1 or not tensor.is_contiguous()):
            raise ValueError(
                f"{op}: {name} must be 1-D and contiguous, got {list(tensor.shape)} with strides "
                f"{list(tensor.stride())}; pass it as Format.pack made it"
            )
    wanted = {
        "bias": (call.out_features,),
        "scale": (call.out_features,),
        "residual": call.y_shape,
        "dense": (call.out_features, call.x.shape[-1]),
    }
    for name, shape in wanted.items():
        tensor = getattr(call, name)
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"{op}: {name} must be {list(shape)}, got {list(tensor.shape)}")


def _check_header(op: str, code: int, call: Call, header: Header) -> None:
    weight = [header.out_features, header.in_features]
    if header.format != code:
        raise ValueError(
            f"{op}: index was packed by another format (number {header.format}, not {code}); "
            "call the op of that format"
        )
    if call.out_features != header.out_features:
        raise ValueError(
            f"{op}: out_features is {call.out_features} but the weight has {weight[0]} "
            f"(weight: {weight}); pass {weight[0]}"
        )
    if call.x.shape[-1] != header.in_features:
        raise ValueError(
            f"{op}: x has {call.x.shape[-1]} features but the weight expects {weight[1]} "
            f"(x: {list(call.x.shape)}, weight: {weight})"
        )
    if call.values.numel() < header.nnz + VALUE_PADDING:
        raise ValueError(
            f"{op}: values must have at least {header.nnz} + {VALUE_PADDING} elements for this "
            f"index, got {call.values.numel()}; pass both tensors of one Packed"
        )
