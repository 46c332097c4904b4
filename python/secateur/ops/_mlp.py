"""Two sparse layers as one op, over any packed format: schema, definition, shape rule, gradient.

The definition is two calls of the format's linear op, and the gradient is theirs; a kernel may
keep what lies between the two to itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from secateur.backends.activations import ACTIVATIONS
from secateur.formats import Header
from secateur.ops import _reference
from secateur.ops._call import Call, check
from secateur.ops._library import define, differentiate, found
from secateur.ops._linear import LinearOp

_SCHEMA = (
    "(Tensor x, Tensor values1, Tensor index1, Tensor values2, Tensor index2, "
    "Tensor? bias1=None, Tensor? bias2=None, Tensor? residual=None, *, int hidden_features, "
    'int out_features, str act="gelu", str act_out="none") -> Tensor'
)


@dataclass(frozen=True)
class MlpCall:
    """One call of an MLP op, its fields in the order of the schema."""

    x: Tensor  # [..., in]
    values1: Tensor  # [slots and padding]
    index1: Tensor  # [bytes], uint8
    values2: Tensor
    index2: Tensor
    bias1: Tensor | None = None  # [hidden]
    bias2: Tensor | None = None  # [out]
    residual: Tensor | None = None  # [..., out]
    hidden_features: int = 0
    out_features: int = 0
    act: str = "gelu"
    act_out: str = "none"

    @property
    def first(self) -> Call:
        """The call of the first layer."""
        return Call(
            *(self.x, self.values1, self.index1, self.bias1),
            out_features=self.hidden_features,
            act=self.act,
        )

    def second(self, hidden: Tensor) -> Call:
        """The call of the second layer, on the output of the first ([..., hidden])."""
        return Call(
            *(hidden, self.values2, self.index2, self.bias2, self.residual),
            out_features=self.out_features,
            act=self.act_out,
        )


class MlpOp:
    """The MLP op of one format: a call computes, see `__call__`.

    Making one defines the format's ops in torch's namespace `secateur`. ``<format>_mlp`` is
    differentiable, ``_infer`` is the same without a gradient, ``_reference`` is the definition.

    Args:
        linear: the format's linear op, whose gradients are taken.
    """

    def __init__(self, linear: LinearOp) -> None:
        self.format = linear.format
        self.name = f"{linear.format.name}_mlp"
        for suffix in ("", "_infer", "_reference"):
            define(self.name + suffix, _SCHEMA, self.reference, self._fake)
        differentiate(self.name, self._backward, _save)
        self._train, self._infer = found(self.name), found(f"{self.name}_infer")
        self._linear = found(linear.name)
        self._dw, self._dx = found(f"{linear.name}_dw"), found(f"{linear.name}_dx")

    def __call__(  # noqa: PLR0913  the schema's arguments
        self,
        x: Tensor,
        values1: Tensor,
        index1: Tensor,
        values2: Tensor,
        index2: Tensor,
        bias1: Tensor | None = None,
        bias2: Tensor | None = None,
        residual: Tensor | None = None,
        *,
        hidden_features: int,
        out_features: int,
        act: str = "gelu",
        act_out: str = "none",
    ) -> Tensor:
        """Return act_out(act(x W1ᵀ + bias1) W2ᵀ + bias2) + residual, over kept positions only.

        Two calls of the format's linear op say the same. With 16 rows of x or more, all float32,
        a kernel on the CPU never writes out what lies between the two.

        Args:
            x: [..., in], floating; under autocast cast to the dtype of values1.
            values1: 1-D, floating, of a `Packed` [hidden, in].
            index1: 1-D, uint8, of the same `Packed`.
            values2: 1-D, floating, of a `Packed` [out, hidden].
            index2: 1-D, uint8, of the same `Packed`.
            bias1: [hidden].
            bias2: [out].
            residual: [..., out], added last.
            hidden_features: rows of W1, columns of W2.
            out_features: rows of W2.
            act: "none", "relu", "gelu", "gelu_tanh", "silu" or "relu6", after the first layer.
            act_out: the same, after the second.

        Returns:
            [..., out], of x's dtype.

        Raises:
            TypeError: if a dtype is wrong.
            ValueError: if anything else does not fit; the message names layer and argument.
        """
        if x.dtype != values1.dtype and torch.is_autocast_enabled(x.device.type):
            x = x.to(values1.dtype)
        tensors: Any = (x, values1, index1, values2, index2, bias1, bias2, residual)
        sizes: Any = {"hidden_features": hidden_features, "out_features": out_features}
        options = {**sizes, "act": act, "act_out": act_out}
        call = MlpCall(*tensors, **options)
        learns = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
        # A kernel sees neither of these: it would add the residual in the wrong places.
        known = call.act in ACTIVATIONS and call.act_out in ACTIVATIONS
        if call.residual is not None or not known:
            self._check(call, None, None)
        return self._run(self._train if learns else self._infer, tensors, options)

    def _run(self, op: Any, tensors: Any, options: Any) -> Tensor:
        result: Tensor
        try:
            result = op(*tensors, **options)
        except RuntimeError:
            # A compiled kernel can only raise this; what is wrong is said better here.
            call = MlpCall(*tensors, **options)
            self._check(call, Header.read(call.index1), Header.read(call.index2))
            raise
        return result

    def reference(self, *args: Any, **kwargs: Any) -> Tensor:
        """Check the schema's arguments and run the definition: one layer after the other."""
        call = MlpCall(*args, **kwargs)
        self._check(call, Header.read(call.index1), Header.read(call.index2))
        hidden = _reference.linear(self.format, call.first)
        return _reference.linear(self.format, call.second(hidden))

    def _check(self, call: MlpCall, header1: Header | None, header2: Header | None) -> None:
        code = self.format.code
        check(f"{self.name}, first layer", code, call.first, header1)
        # The second layer is checked on an x of the right shape that takes no memory.
        hidden = call.x.new_empty(()).expand(*call.x.shape[:-1], call.hidden_features)
        check(f"{self.name}, second layer", code, call.second(hidden), header2)

    def _fake(self, *args: Any, **kwargs: Any) -> Tensor:
        call = MlpCall(*args, **kwargs)
        self._check(call, None, None)
        return call.x.new_empty((*call.x.shape[:-1], call.out_features))

    def _backward(self, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, values1, index1, values2, index2, bias1, bias2 = ctx.saved_tensors
        # The dispatcher drops trailing arguments that equal their defaults.
        needs = (*ctx.needs_input_grad, False, False, False)
        pre = self._linear(x, values1, index1, bias1, out_features=ctx.hidden_features)
        hidden = ACTIVATIONS[ctx.act].forward(pre)
        grad_out = grad
        if ctx.act_out != "none":
            pre_out = self._linear(hidden, values2, index2, bias2, out_features=grad.shape[-1])
            grad_out = ACTIVATIONS[ctx.act_out].backward(grad, pre_out)
        grad_values2 = grad_x = grad_values1 = None
        if needs[3]:
            grad_values2 = self._dw(grad_out.to(values2.dtype), hidden, index2, values2.numel())
        grad_hidden = self._dx(grad_out, values2, index2, None, in_features=ctx.hidden_features)
        grad_pre = ACTIVATIONS[ctx.act].backward(grad_hidden, pre)
        if needs[0]:
            grad_x = self._dx(grad_pre, values1, index1, None, in_features=x.shape[-1])
        if needs[1]:
            grad_values1 = self._dw(grad_pre.to(values1.dtype), x, index1, values1.numel())
        grad_bias1 = _reference.grad_bias(grad_pre, bias1) if needs[5] else None
        grad_bias2 = _reference.grad_bias(grad_out, bias2) if needs[6] else None
        grad_residual = grad.to(ctx.residual_dtype) if needs[7] else None
        by_weights = (grad_values1, None, grad_values2, None)
        return grad_x, *by_weights, grad_bias1, grad_bias2, grad_residual


def _save(
    ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Tensor
) -> None:
    *saved, residual = inputs
    ctx.save_for_backward(*saved)
    ctx.act, ctx.act_out = keyword_only_inputs["act"], keyword_only_inputs["act_out"]
    ctx.hidden_features = keyword_only_inputs["hidden_features"]
    ctx.residual_dtype = None if residual is None else residual.dtype
