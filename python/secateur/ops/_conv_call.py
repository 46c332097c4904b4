"""The arguments of a convolution op, its geometry and its one check. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from secateur.backends.convolution import Convolution
from secateur.formats import Header
from secateur.ops._call import Call, check


@dataclass(frozen=True)
class ConvCall:
    """One call of a convolution op, its fields in the order of the schema."""

    x: Tensor  # [N, C, H, W]
    values: Tensor  # [slots and padding]
    index: Tensor  # [bytes], uint8, of the weight as [out, kh * kw * C / groups]
    bias: Tensor | None = None  # [out]
    residual: Tensor | None = None  # [N, out, H', W']
    scale: Tensor | None = None  # [out], float32, with int8 values
    dense: Tensor | None = None  # [out, C / groups, kh, kw]
    transposed: Tensor | None = None  # [bytes], uint8
    out_channels: int = 0
    kernel_size: Sequence[int] = (1, 1)
    stride: Sequence[int] = (1, 1)
    padding: Sequence[int] = (0, 0, 0, 0)  # left, right, top, bottom, as F.pad has it
    dilation: Sequence[int] = (1, 1)
    groups: int = 1
    act: str = "none"
    residual_first: bool = False

    @property
    def convolution(self) -> Convolution:
        """Its geometry, as the backends see it."""
        batch, channels, high, wide = self.x.shape
        left, right, top, bottom = self.padding
        (kh, kw), (down, along), (dh, dw) = self.kernel_size, self.stride, self.dilation
        return Convolution(
            image=(batch, channels, high, wide),
            kernel_size=(kh, kw),
            stride=(down, along),
            padding=(left, right, top, bottom),
            dilation=(dh, dw),
            groups=self.groups,
        )

    @property
    def columns(self) -> int:
        """Columns of the weight: taps times channels of a group."""
        return self.convolution.columns

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of y; 0 where the kernel is larger than the padded x."""
        return self.convolution.out_size

    @property
    def y_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return (self.x.shape[0], self.out_channels, *self.out_size)

    @property
    def rows(self) -> int:
        """Pixels of y."""
        return self.convolution.rows

    def layer(self, x: Tensor) -> Call:
        """Return the linear layer on the rows `x` that this convolution is, without residual."""
        dense = None if self.dense is None else self.dense.movedim(1, -1).flatten(1)
        return Call(
            *(x, self.values, self.index, self.bias, None, self.scale, dense, self.transposed),
            out_features=self.out_channels,
            act=self.act,
        )

    def padded(self) -> Tensor:
        """Return x with its padding."""
        return F.pad(self.x, tuple(self.padding)) if any(self.padding) else self.x


def check_conv(op: str, code: int, call: ConvCall, header: Header | None) -> None:
    """Check one call of a convolution op; the only place that does.

    Args:
        op: its name, for messages.
        code: the format's number in the header.
        call: the arguments.
        header: of call.index; None while tracing, where there is no data to read it from.

    Raises:
        TypeError: on a wrong dtype.
        ValueError: on anything else.
    """
    if call.x.dim() != 4:
        raise ValueError(f"{op}: x must be [N, C, H, W], got {list(call.x.shape)}")
    _check_numbers(op, call)
    _check_groups(op, call)
    # As the linear layer it is, on an x of the right shape that takes no memory.
    rows = call.x.new_empty(()).expand(call.rows, call.columns)
    check(op, code, call.layer(rows), header)
    if call.residual is None:
        return
    if tuple(call.residual.shape) != call.y_shape:
        wanted = list(call.y_shape)
        raise ValueError(f"{op}: residual must be {wanted}, got {list(call.residual.shape)}")
    if not call.residual.dtype.is_floating_point:
        raise TypeError(f"{op}: residual must be floating, got {call.residual.dtype}; convert it")
    if call.residual.device != call.x.device:
        raise ValueError(
            f"{op}: residual is on {call.residual.device} but x is on {call.x.device}; move one"
        )


def _check_numbers(op: str, call: ConvCall) -> None:
    wanted = {"kernel_size": (2, 1), "stride": (2, 1), "padding": (4, 0), "dilation": (2, 1)}
    for name, (count, least) in wanted.items():
        numbers = getattr(call, name)
        if len(numbers) != count or any(number < least for number in numbers):
            raise ValueError(
                f"{op}: {name} must be {count} whole numbers of at least {least}, "
                f"got {list(numbers)}"
            )


def _check_groups(op: str, call: ConvCall) -> None:
    channels = call.x.shape[1]
    if call.groups < 1 or channels % call.groups or call.out_channels % call.groups:
        raise ValueError(
            f"{op}: groups must divide the channels of x and of y, got {call.groups} groups, "
            f"{channels} and {call.out_channels} channels"
        )
