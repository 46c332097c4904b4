"""A convolution op over any packed format: schema, definition, shape rule and gradient.

The definition unfolds x and is the linear op's from there on; so are the gradients. Kernels unfold
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
import torch.nn.functional as F
import torch.nn.grad as dense_gradients
from torch import Tensor

from secateur.backends.activations import ACTIVATIONS
from secateur.formats import Header
from secateur.ops import _cuda_conv, _reference
from secateur.ops._conv_call import ConvCall, check_conv
from secateur.ops._images import (
    cropped,
    finished,
    folded,
    memory_format,
    padded_size,
    pixels,
    unfolded,
)
from secateur.ops._library import define, differentiate, found, on_cuda
from secateur.ops._linear import LinearOp

_SCHEMA = (
    "(Tensor x, Tensor values, Tensor index, Tensor? bias=None, Tensor? residual=None, "
    "Tensor? scale=None, Tensor? dense=None, Tensor? transposed=None, *, int out_channels, "
    "int[] kernel_size, int[] stride, int[] padding, int[] dilation, int groups=1, "
    'str act="none", bool residual_first=False) -> Tensor'
)
_SCHEMA_OVER = (
    _SCHEMA.replace("bias=None", "bias")
    .replace("Tensor? residual=None", "Tensor(a!) residual")
    .replace("-> Tensor", "-> ()")
)
_ONES, _ZEROS = (1, 1), (0, 0, 0, 0)
_TENSORS = 8  # of the schema's arguments, the first


class ConvOp:
    """The 2-D convolution of one format: a call computes, see `__call__`.

    Making one defines the format's ops in torch's namespace `secateur`. ``<format>_conv2d`` is
    differentiable, ``_infer`` is the same without a gradient, ``_over`` too, but for its result,
    which it writes over the residual, and ``_reference`` is the definition.

    Args:
        linear: the format's linear op, whose gradients are taken.
    """

    def __init__(self, linear: LinearOp) -> None:
        self.format = linear.format
        self.name = f"{linear.format.name}_conv2d"
        for suffix in ("", "_infer"):
            define(self.name + suffix, _SCHEMA, self.default, self._fake)
            on_cuda(self.name + suffix, self.cuda)
        define(f"{self.name}_over", _SCHEMA_OVER, self._default_over, self._fake_over)
        on_cuda(f"{self.name}_over", self._cuda_over)
        define(f"{self.name}_reference", _SCHEMA, self.reference, self._fake)
        differentiate(self.name, self._backward, _save)
        self._train, self._infer = found(self.name), found(f"{self.name}_infer")
        self._dw, self._dx = found(f"{linear.name}_dw"), found(f"{linear.name}_dx")

    def __call__(  # noqa: PLR0913  the schema's arguments
        self,
        x: Tensor,
        values: Tensor,
        index: Tensor,
        bias: Tensor | None = None,
        residual: Tensor | None = None,
        scale: Tensor | None = None,
        dense: Tensor | None = None,
        transposed: Tensor | None = None,
        *,
        out_channels: int,
        kernel_size: Sequence[int],
        stride: Sequence[int] = _ONES,
        padding: Sequence[int] = _ZEROS,
        dilation: Sequence[int] = _ONES,
        groups: int = 1,
        act: str = "none",
        residual_first: bool = False,
    ) -> Tensor:
        """Return act(conv2d(x, W) + bias) + residual, summed over the kept positions of W only.

        Args:
            x: [N, C, H, W], floating, of either memory format; under autocast cast to the values'.
            values: 1-D, of a `Packed` of the weight as [out, kh * kw * C / groups], the channel
                fastest; floating, or int8 with a scale.
            index: 1-D, uint8, of the same `Packed`.
            bias: [out].
            residual: [N, out, H', W'], added after the activation, or before with residual_first.
            scale: [out], float32, see `LinearOp`.
            dense: [out, C / groups, kh, kw], the same weight dense; see `LinearOp`.
            transposed: `Format.transpose(index)`; without it each backward builds it anew.
            out_channels: rows of W.
            kernel_size: (kh, kw).
            stride: (down, right).
            padding: zeros around x: (left, right, top, bottom), as `torch.nn.functional.pad`.
            dilation: (down, right).
            groups: as of nn.Conv2d.
            act: "none", "relu", "gelu", "gelu_tanh", "silu" or "relu6".
            residual_first: see `residual`; ResNet has it so.

        Returns:
            [N, out, H', W'], of x's dtype; H' or W' is 0 where the kernel is larger than x.

        Raises:
            TypeError: if a dtype is wrong.
            ValueError: if anything else does not fit; the message names the argument.
        """
        if x.dtype != values.dtype and scale is None and torch.is_autocast_enabled(x.device.type):
            x = x.to(values.dtype)
        tensors: Any = (x, values, index, bias, residual, scale, dense, transposed)
        options: Any = {"out_channels": out_channels, "kernel_size": kernel_size, "stride": stride}
        options |= {"padding": padding, "dilation": dilation, "groups": groups}
        options |= {"act": act, "residual_first": residual_first}
        # A kernel sees neither of these.
        strange = act not in ACTIVATIONS or values.dim() != 1
        if strange or (values.dtype == torch.int8) != (scale is not None):
            check_conv(self.name, self.format.code, ConvCall(*tensors, **options), None)
        return self._run(tensors, options)

    def _run(self, tensors: Any, options: Any) -> Tensor:
        learns = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
        op = self._train if learns else self._infer
        result: Tensor
        try:
            result = op(*tensors, **options)
        except RuntimeError:
            # A compiled kernel can only raise this; what is wrong is said better here.
            self._read(*tensors, **options)
            raise
        return result

    def reference(self, *args: Any, **kwargs: Any) -> Tensor:
        """Check the schema's arguments and run the definition."""
        call, _ = self._read(*args, **kwargs)
        wide = _reference.accumulator(call.x, call.values)
        rows, columns = self.format.positions(call.index)
        values = call.values[self.format.occupied(call.index)].to(wide)
        if call.scale is not None:
            values = values * call.scale[rows]
        by_group = call.out_channels // call.groups
        parts = []
        for group, x in enumerate(unfolded(replace(call, x=call.x.to(wide)))):
            mine = rows // by_group == group
            local = rows[mine] - group * by_group
            parts.append(_reference.sum_over_kept(x, values[mine], local, columns[mine], by_group))
        y = torch.cat(parts, dim=1)
        y = y if call.bias is None else y + call.bias
        y = y.reshape(call.x.shape[0], *call.out_size, call.out_channels).movedim(-1, 1)
        return finished(call, y)

    def default(self, *args: Any, **kwargs: Any) -> Tensor:
        """What devices without a kernel run: dense where that was measured faster."""
        call, header = self._read(*args, **kwargs)
        if call.dense is None or header.verdict(call.rows) != "dense":
            return self.reference(*args, **kwargs)
        bias = None if call.bias is None else call.bias.to(call.x.dtype)
        dense = call.dense.to(call.x.dtype)
        shape: Any = {"stride": call.stride, "dilation": call.dilation, "groups": call.groups}
        return finished(call, F.conv2d(call.padded(), dense, bias, **shape))

    def cuda(self, *args: Any, **kwargs: Any) -> Tensor:
        """What runs on a GPU: the candidate that the backends pick, or the default."""
        call = ConvCall(*args, **kwargs)
        return _cuda_conv.conv2d(self.format.name, self.format.code, call, self._plain)

    def _plain(self, call: ConvCall) -> Tensor:
        named = [field.name for field in fields(call)]
        options = {name: getattr(call, name) for name in named[_TENSORS:]}
        return self.default(*(getattr(call, name) for name in named[:_TENSORS]), **options)

    def _cuda_over(self, *args: Any, **kwargs: Any) -> None:
        # Kernels read the residual past the caches, as what nobody writes to meanwhile.
        ConvCall(*args, **kwargs).residual.copy_(self.cuda(*args, **kwargs))  # type: ignore[union-attr]

    def _default_over(self, *args: Any, **kwargs: Any) -> None:
        ConvCall(*args, **kwargs).residual.copy_(self.default(*args, **kwargs))  # type: ignore[union-attr]

    def _fake_over(self, *args: Any, **kwargs: Any) -> None:
        check_conv(self.name, self.format.code, ConvCall(*args, **kwargs), None)

    def _read(self, *args: Any, **kwargs: Any) -> tuple[ConvCall, Header]:
        call = ConvCall(*args, **kwargs)
        header = Header.read(call.index)
        check_conv(self.name, self.format.code, call, header)
        return call, header

    def _fake(self, *args: Any, **kwargs: Any) -> Tensor:
        call = ConvCall(*args, **kwargs)
        check_conv(self.name, self.format.code, call, None)
        y = call.x.new_empty(call.y_shape)
        return y.to(memory_format=memory_format(call.x))

    def _backward(self, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, values, index, bias, scale, transposed, residual = ctx.saved_tensors
        # The dispatcher drops trailing arguments that equal their defaults.
        needs = (*ctx.needs_input_grad, False, False)
        call = ConvCall(x, values, index, bias, None, scale, None, transposed, **ctx.options)
        grad_pre = grad
        if call.act != "none":
            plain = {**ctx.options, "act": "none"}
            pre = self._train(x, values, index, bias, residual, scale, **plain)
            grad_pre = ACTIVATIONS[call.act].backward(grad, pre)
        grad_x = self._grad_x(call, grad_pre) if needs[0] else None
        grad_values = self._grad_values(call, grad_pre) if needs[1] else None
        grad_bias = None
        if needs[3]:
            grad_bias = _reference.grad_bias(grad_pre.movedim(1, -1), bias)
        before = grad_pre if call.residual_first else grad
        grad_residual = before.to(ctx.residual_dtype) if needs[4] else None
        return grad_x, grad_values, None, grad_bias, grad_residual, None, None, None

    def _grad_x(self, call: ConvCall, grad: Tensor) -> Tensor:
        values = call.values
        if call.scale is not None:
            grad = (grad * call.scale[:, None, None]).to(call.x.dtype)
            values = values.to(call.x.dtype)
        if call.groups > 1:  # a row of the transpose would need one group's pixels only
            dense = self._dense(call, values)
            shape = (call.x.shape[0], call.x.shape[1], *padded_size(call))
            options: Any = (list(call.stride), 0, list(call.dilation), call.groups)
            padded = dense_gradients.conv2d_input(shape, dense, grad, *options)
            return cropped(call, padded)
        rows = self._dx(pixels(grad), values, call.index, call.transposed, in_features=call.columns)
        return cropped(call, folded(call, rows))

    def _grad_values(self, call: ConvCall, grad: Tensor) -> Tensor:
        grad = grad.to(call.values.dtype)
        if call.groups == 1:
            (x,) = unfolded(call)
            return self._dw(pixels(grad), x, call.index, call.values.numel())  # type: ignore[no-any-return]
        channels = call.x.shape[1] // call.groups
        shape = (call.out_channels, channels, *call.kernel_size)
        options: Any = (list(call.stride), 0, list(call.dilation), call.groups)
        dense = dense_gradients.conv2d_weight(call.padded().to(grad.dtype), shape, grad, *options)
        rows, columns = self.format.positions(call.index)
        kept = dense.movedim(1, -1).flatten(1)[rows, columns]
        result: Tensor = kept.new_zeros(call.values.numel())
        result[self.format.occupied(call.index)] = kept
        return result

    def _dense(self, call: ConvCall, values: Tensor) -> Tensor:
        matrix = self.format.unpack(values, call.index)
        channels = call.x.shape[1] // call.groups
        return matrix.reshape(call.out_channels, *call.kernel_size, channels).movedim(-1, 1)


def _save(
    ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Tensor
) -> None:
    x, values, index, bias, residual, scale, _dense, transposed = inputs
    needed = residual if keyword_only_inputs.get("residual_first") else None
    ctx.save_for_backward(x, values, index, bias, scale, transposed, needed)
    ctx.options = keyword_only_inputs
    ctx.residual_dtype = None if residual is None else residual.dtype
