"""What a dense layer computes, read out of the module that computes it. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from secateur.nn.masked_linear import MaskedLinear
from secateur.pruning import reparametrised

LINEAR = "nn.Linear or Hugging Face Conv1D"
SUPPORTED = "nn.Linear, nn.Conv2d, nn.Conv1d or Hugging Face Conv1D"

DEPTHWISE = "it is depthwise, where dense is faster"

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
PADDING_MODES: tuple[str, ...] = get_args(PaddingMode)


class Geometry(NamedTuple):
    """What a convolution is beside its weight; nn.Conv2d's arguments.

    One of sequences is one of images of height 1.

    Attributes:
        dims: 2, or 1: of sequences.
        padding: (left, right, top, bottom), in numbers, whatever nn.Conv2d was given.
    """

    kernel_size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    padding_mode: PaddingMode = "zeros"
    dims: int = 2

    @property
    def arguments(self) -> dict[str, Any]:
        """What a sparse convolution is made with."""
        return {name: value for name, value in self._asdict().items() if name != "dims"}

    @property
    def taps(self) -> int:
        """Places of the kernel."""
        return self.kernel_size[0] * self.kernel_size[1]

    @classmethod
    def of(cls, conv: nn.Conv1d | nn.Conv2d) -> Geometry:
        """Return the geometry of a dense convolution."""
        kernel, stride, dilation = map(_pair, (conv.kernel_size, conv.stride, conv.dilation))
        dims = len(conv.kernel_size)
        if conv.padding == "valid":
            padding = (0, 0, 0, 0)
        elif conv.padding == "same":
            padding = _same(kernel, dilation)
        else:
            high, wide = _pair([int(number) for number in conv.padding], 0)
            padding = (wide, wide, high, high)
        return cls(kernel, stride, padding, dilation, conv.groups, conv.padding_mode, dims)

    def as_given(self) -> tuple[int, ...] | str:
        """Return the padding as torch's layer takes it.

        Raises:
            ValueError: if torch's layer has no such padding.
        """
        left, right, top, bottom = self.padding
        if left == right and top == bottom:
            return (top, left)[-self.dims :]
        if self.padding == _same(self.kernel_size, self.dilation) and self.stride == (1, 1):
            return "same"
        raise ValueError(
            f"padding: nn.Conv2d takes it alike on both sides, or 'same'; this layer has "
            f"{self.padding} (left, right, top, bottom)"
        )


class DenseLayer(NamedTuple):
    """y = x @ weight.T + bias, and which weights are kept.

    Attributes:
        weight: [out, in], zero where mask is False; of a convolution [out, kh * kw * in / groups],
            the channel fastest.
        bias: [out] or None.
        mask: bool [out, in].
        inferred: True if the mask is merely "weight is not zero", so that a kept weight that
            happens to be zero cannot be told from a pruned one.
        trains: whether the weight wants a gradient.
        geometry: of a convolution; None: the layer is linear.
    """

    weight: Tensor
    bias: Tensor | None
    mask: Tensor
    inferred: bool
    trains: bool
    geometry: Geometry | None = None


def is_conv1d(module: nn.Module) -> bool:
    """Tell whether `module` is Hugging Face's Conv1D (a linear layer whose weight is [in, out])."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def why_not(module: nn.Module) -> str | None:
    """Return why `module` cannot become a sparse layer, or None if it can."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return why_not_conv(module)
    if not (isinstance(module, nn.Linear) or is_conv1d(module)):
        return f"{type(module).__name__} is not {SUPPORTED}"
    return why_not_linear(module)


def why_not_linear(module: nn.Module) -> str | None:
    """Return why `module` cannot become a sparse linear layer, or None if it can."""
    if not (isinstance(module, nn.Linear) or is_conv1d(module)):
        return f"{type(module).__name__} is not {LINEAR}"
    known = (nn.Linear.forward, MaskedLinear.forward)
    if isinstance(module, nn.Linear) and type(module).forward not in known:
        return f"{type(module).__name__} has a forward of its own"
    return _unreadable(module)


def _unreadable(module: nn.Module) -> str | None:
    weight = getattr(module, "weight_orig", None)
    if weight is None:
        weight = module.weight
    assert isinstance(weight, Tensor)
    if isinstance(weight, nn.parameter.UninitializedParameter):
        return "its weight has no shape yet; run the model once"
    if weight.is_meta:
        return "its weight is on the meta device and has no values"
    if not weight.is_floating_point():
        return f"its weight is {weight.dtype}, not floating"
    return None


@torch.no_grad()
def _tensor(module: nn.Module, name: str) -> tuple[Tensor | None, Tensor | None]:
    """Return the tensor `name` as the forward sees it, and the mask that the module has for it."""
    if name == "weight" and isinstance(module, MaskedLinear):
        return module.weight.detach(), module.mask
    return reparametrised.current(module, name), reparametrised.mask_of(module, name)


def read(module: nn.Module) -> DenseLayer:
    """Read a dense layer of any kind, see `read_linear` and `read_conv`."""
    convolves = isinstance(module, nn.Conv1d | nn.Conv2d)
    return read_conv(module) if convolves else read_linear(module)


def read_linear(module: nn.Module, mask: Tensor | None = None) -> DenseLayer:
    """Read a dense linear layer.

    Args:
        module: nn.Linear or Hugging Face Conv1D, plain, pruned by torch.nn.utils.prune (the
            mask is its weight_mask), a MaskedLinear, or with a parametrised weight.
        mask: [out, in], nonzero where a weight is kept; None: where the weight is not zero.

    Raises:
        TypeError: if the module is another kind of layer.
        ValueError: if the mask has another shape than the weight.
    """
    reason = why_not_linear(module)
    if reason is not None:
        raise TypeError(f"linear: wanted {LINEAR}, got one that cannot convert: {reason}")
    weight, given = _tensor(module, "weight")
    assert weight is not None
    if is_conv1d(module):
        weight, given = weight.t(), None if given is None else given.t()
    return _layer(module, weight, given, mask)


def why_not_conv(module: nn.Module, *, depthwise: bool = False) -> str | None:
    """Return why `module` cannot become a sparse convolution, or None if it can.

    Args:
        module: any module.
        depthwise: whether convolutions of one channel a group count too; they run dense.
    """
    if not isinstance(module, nn.Conv1d | nn.Conv2d):
        return f"{type(module).__name__} is not nn.Conv2d or nn.Conv1d"
    if type(module).forward not in (nn.Conv1d.forward, nn.Conv2d.forward):
        return f"{type(module).__name__} has a forward of its own"
    if module.groups == module.in_channels and module.groups > 1 and not depthwise:
        return DEPTHWISE
    return _unreadable(module)


def read_conv(
    module: nn.Module, mask: Tensor | None = None, *, depthwise: bool = False
) -> DenseLayer:
    """Read a dense convolution; its weight comes as [out, kh * kw * in / groups].

    Args:
        module: nn.Conv2d or nn.Conv1d, plain, pruned by torch.nn.utils.prune, or with a
            parametrised weight.
        mask: of the weight's shape, nonzero where a weight is kept; None: where it is not zero.
        depthwise: see `why_not_conv`.

    Raises:
        TypeError: if the module is another kind of layer.
        ValueError: if the mask has another shape than the weight.
    """
    reason = why_not_conv(module, depthwise=depthwise)
    if reason is not None:
        raise TypeError(f"conv: wanted a convolution, got one that cannot convert: {reason}")
    assert isinstance(module, nn.Conv1d | nn.Conv2d)
    weight, given = _tensor(module, "weight")
    assert weight is not None
    layer = _layer(module, weight, given, mask)
    weight, kept = (t.movedim(1, -1).flatten(1).contiguous() for t in (layer.weight, layer.mask))
    return layer._replace(weight=weight, mask=kept, geometry=Geometry.of(module))


@torch.no_grad()
def _layer(
    module: nn.Module, weight: Tensor, given: Tensor | None, mask: Tensor | None
) -> DenseLayer:
    """Return what `module` is; `mask` is shaped like `weight`, and wins over `given`."""
    bias, _ = _tensor(module, "bias")
    if mask is not None:
        _check_mask(mask, weight)
        given = mask.to(weight.device) != 0
    kept = weight != 0 if given is None else given
    zero = torch.zeros((), dtype=weight.dtype, device=weight.device)
    weight = torch.where(kept, weight, zero).contiguous()
    trains = any(p.requires_grad for n, p in module.named_parameters() if "bias" not in n)
    return DenseLayer(weight, bias, kept.contiguous(), given is None, trains)


def _check_mask(mask: Tensor, weight: Tensor) -> None:
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask: wanted a tensor [out, in], got {type(mask).__name__}")
    if mask.shape != weight.shape:
        raise ValueError(
            f"mask: wanted the weight's shape [out, in] = {list(weight.shape)}, "
            f"got {list(mask.shape)}"
        )


def _pair(numbers: Sequence[int], high: int = 1) -> tuple[int, int]:
    """Return two numbers; where there is one, it is the width's."""
    return (numbers[0] if len(numbers) > 1 else high), numbers[-1]


def _same(kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the padding that torch calls "same": the odd one goes right and to the bottom."""
    high, wide = (step * (size - 1) for step, size in zip(dilation, kernel, strict=True))
    return wide // 2, wide - wide // 2, high // 2, high - high // 2
