"""A linear op over any packed format: schema, shape rule, gradient, and which op a call takes.

What is computed is defined in _reference.py; that runs on every device that has no kernel of its
own, and wherever a kernel does not take the dtype.
"""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.backends.activations import ACTIVATIONS
from secateur.formats import FORMATS, Header, permutation
from secateur.ops import _cuda, _reference
from secateur.ops._call import Call, check, check_transposed
from secateur.ops._library import define, differentiate, found, on_cuda

_FORWARD = (
    "(Tensor x, Tensor values, Tensor index, Tensor? bias=None, Tensor? residual=None, "
    "Tensor? scale=None, Tensor? dense=None, Tensor? transposed=None, *, int out_features, "
    'str act="none") -> Tensor'
)
_DW = "(Tensor grad_y, Tensor x, Tensor index, int length) -> Tensor"
_DX = (
    "(Tensor grad_y, Tensor values, Tensor index, Tensor? transposed=None, *, int in_features)"
    " -> Tensor"
)


class LinearOp:
    """The linear op of one format: a call computes, see `__call__`.

    Making one defines the format's ops in torch's namespace `secateur`. ``<format>_linear`` is
    differentiable, ``_infer`` is the same without a gradient (registering one costs 9 µs a call),
    ``_reference`` is the definition, ``_dw`` and ``_dx`` are the gradients with respect to the
    values and to x.

    Args:
        format: a name in `FORMATS`.
    """

    def __init__(self, format: str) -> None:
        self.format = FORMATS.get(format)
        self.name = f"{format}_linear"
        for suffix in ("", "_infer"):
            define(self.name + suffix, _FORWARD, self.default, self._fake)
            on_cuda(self.name + suffix, self.cuda)
        define(f"{self.name}_reference", _FORWARD, self.reference, self._fake)
        for suffix in ("_dw", "_dw_reference"):
            define(self.name + suffix, _DW, self.dw, _fake_dw)
        define(f"{self.name}_dx", _DX, self.dx, _fake_dx)
        on_cuda(f"{self.name}_dw", partial(_cuda.gradient, f"{self.name}_dw", self.dw))
        on_cuda(f"{self.name}_dx", partial(_cuda.gradient, f"{self.name}_dx", self.dx))
        differentiate(self.name, self._backward, _save)
        differentiate(f"{self.name}_dw", self._backward_of_dw, _save_dw)
        differentiate(f"{self.name}_dx", self._backward_of_dx, _save_dx)
        self._train, self._infer = found(self.name), found(f"{self.name}_infer")
        self._dw, self._dx = found(f"{self.name}_dw"), found(f"{self.name}_dx")

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
        out_features: int,
        act: str = "none",
    ) -> Tensor:
        """Return act(x Wᵀ + bias) + residual, summed over the kept positions of W only.

        Under autocast x is cast to the dtype of the values.

        Args:
            x: [..., in], floating.
            values: 1-D, floating, of a `Packed`; or int8, with a scale.
            index: 1-D, uint8, of the same `Packed`.
            bias: [out].
            residual: [..., out], added after the activation.
            scale: [out], float32: what the int8 values of each output are multiplied by; None with
                floating values.
            dense: [out, in], the same weight dense: run instead for row counts whose verdict is
                "dense". There inf × pruned zero is NaN.
            transposed: `Format.transpose(index)`; without it each backward builds it anew.
            out_features: rows of W.
            act: "none", "relu", "gelu", "gelu_tanh", "silu" or "relu6".

        Returns:
            [..., out], of x's dtype.

        Raises:
            TypeError: if a dtype is wrong.
            ValueError: if anything else does not fit; the message names the argument.
        """
        if x.dtype != values.dtype and scale is None and torch.is_autocast_enabled(x.device.type):
            x = x.to(values.dtype)
        learns = torch.is_grad_enabled() and (
            x.requires_grad
            or values.requires_grad
            or (bias is not None and bias.requires_grad)
            or (residual is not None and residual.requires_grad)
        )
        tensors: Any = (x, values, index, bias, residual, scale, dense, transposed)
        options: Any = {"out_features": out_features, "act": act}
        # A kernel sees neither of these: it would add the residual in the wrong places.
        strange = act not in ACTIVATIONS or values.dim() != 1
        if strange or residual is not None or (values.dtype == torch.int8) != (scale is not None):
            check(self.name, self.format.code, Call(*tensors, **options), None)
        return self._run(self._train if learns else self._infer, tensors, options)

    def _run(self, op: Any, tensors: Any, options: Any) -> Tensor:
        result: Tensor
        try:
            result = op(*tensors, **options)
        except RuntimeError:
            # A compiled kernel can only raise this; what is wrong is said better here.
            call = Call(*tensors, **options)
            check(self.name, self.format.code, call, Header.read(call.index))
            raise
        return result

    def reference(self, *args: Any, **kwargs: Any) -> Tensor:
        """Check the schema's arguments and run the definition."""
        call, _ = self._read(*args, **kwargs)
        return _reference.linear(self.format, call)

    def default(self, *args: Any, **kwargs: Any) -> Tensor:
        """What devices without a kernel run: dense where that was measured faster."""
        call, header = self._read(*args, **kwargs)
        if call.dense is None or header.verdict(_row_count(call.x)) != "dense":
            return _reference.linear(self.format, call)
        bias = None if call.bias is None else call.bias.to(call.x.dtype)
        return _reference.finish(call, F.linear(call.x, call.dense.to(call.x.dtype), bias))

    def cuda(self, *args: Any, **kwargs: Any) -> Tensor:
        """What runs on a GPU: the candidate that the backends pick, or the default."""
        return _cuda.linear(self.format.name, self.format.code, Call(*args, **kwargs), self._plain)

    def _plain(self, call: Call) -> Tensor:
        return self.default(
            *(getattr(call, field.name) for field in fields(call)[:8]),
            **{"out_features": call.out_features, "act": call.act},
        )

    def dw(self, grad_y: Tensor, x: Tensor, index: Tensor, length: int) -> Tensor:
        """Gradient of the values; see `_reference.grad_values`."""
        return _reference.grad_values(self.format, grad_y, x, index, length)

    def dx(
        self,
        grad_y: Tensor,
        values: Tensor,
        index: Tensor,
        transposed: Tensor | None = None,
        *,
        in_features: int,
    ) -> Tensor:
        """Gradient of x: grad_y W, by the csr op on Wᵀ over the same values.

        Args:
            grad_y: [..., out].
            values: of the weight.
            index: of the weight.
            transposed: Format.transpose(index); None builds it, at every call.
            in_features: columns of the weight.

        Returns:
            [..., in], of grad_y's dtype.
        """
        if transposed is None:
            transposed = self.format.transpose(index)
        check_transposed(f"{self.name}_dx", transposed, Header.read(index))
        # A fifth of the time that values[permutation] takes.
        values_t = values.index_select(0, permutation(transposed))
        csr_linear_infer = torch.ops.secateur.csr_linear_infer.default
        result: Tensor = csr_linear_infer(grad_y, values_t, transposed, out_features=in_features)
        return result

    def _read(self, *args: Any, **kwargs: Any) -> tuple[Call, Header]:
        call = Call(*args, **kwargs)
        header = Header.read(call.index)
        check(self.name, self.format.code, call, header)
        return call, header

    def _fake(self, *args: Any, **kwargs: Any) -> Tensor:
        call = Call(*args, **kwargs)
        check(self.name, self.format.code, call, None)
        return call.x.new_empty(call.y_shape)

    def _backward(self, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, values, index, bias, scale, transposed = ctx.saved_tensors
        # The dispatcher drops trailing arguments that equal their defaults.
        needs = (*ctx.needs_input_grad, False, False)
        needs_x, needs_values, _, needs_bias, needs_residual = needs[:5]
        grad_pre = grad
        if ctx.act != "none":
            pre = self._train(x, values, index, bias, None, scale, out_features=grad.shape[-1])
            grad_pre = ACTIVATIONS[ctx.act].backward(grad, pre)
        grad_x = grad_values = grad_bias = None
        if needs_x and scale is None:
            grad_x = self._dx(grad_pre, values, index, transposed, in_features=x.shape[-1])
        elif needs_x:  # int8 values go through as the numbers they are, their scale before
            scaled, whole = (grad_pre * scale).to(x.dtype), values.to(x.dtype)
            grad_x = self._dx(scaled, whole, index, transposed, in_features=x.shape[-1])
        if needs_values:
            grad_values = self._dw(grad_pre.to(values.dtype), x, index, values.numel())
        if needs_bias:
            grad_bias = _reference.grad_bias(grad_pre, bias)
        grad_residual = grad.to(ctx.residual_dtype) if needs_residual else None
        return grad_x, grad_values, None, grad_bias, grad_residual, None, None, None

    def _backward_of_dx(self, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_y, values, index, transposed = ctx.saved_tensors
        needs_grad_y, needs_values, *_ = ctx.needs_input_grad
        by_grad_y = by_values = None
        if needs_grad_y:
            rest = (None, None, None, None, transposed)
            by_grad_y = self._train(grad, values, index, *rest, out_features=grad_y.shape[-1])
        if needs_values:
            by_values = self._dw(grad_y.to(values.dtype), grad, index, values.numel())
        return by_grad_y, by_values, None, None

    def _backward_of_dw(self, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # `grad` stands where the values stand: dw is linear in x and in grad_y.
        grad_y, x, index = ctx.saved_tensors
        needs_grad_y, needs_x, *_ = ctx.needs_input_grad
        by_grad_y = by_x = None
        if needs_grad_y:
            by_grad_y = self._train(x, grad, index, out_features=grad_y.shape[-1]).to(grad_y.dtype)
        if needs_x:
            by_x = self._dx(grad_y, grad, index, None, in_features=x.shape[-1]).to(x.dtype)
        return by_grad_y, by_x, None, None


def _row_count(x: Tensor) -> int:
    return x.numel() // max(1, x.shape[-1])


def _fake_dw(grad_y: Tensor, x: Tensor, index: Tensor, length: int) -> Tensor:
    return grad_y.new_empty(length)


def _fake_dx(
    grad_y: Tensor,
    values: Tensor,
    index: Tensor,
    transposed: Tensor | None = None,
    *,
    in_features: int,
) -> Tensor:
    return grad_y.new_empty(*grad_y.shape[:-1], in_features)


def _save(
    ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Tensor
) -> None:
    x, values, index, bias, residual, scale, _dense, transposed = inputs
    ctx.save_for_backward(x, values, index, bias, scale, transposed)
    ctx.act = keyword_only_inputs["act"]
    ctx.residual_dtype = None if residual is None else residual.dtype


def _save_dx(
    ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Tensor
) -> None:
    ctx.save_for_backward(*inputs)


def _save_dw(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
