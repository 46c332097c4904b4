"""Linear layer on a dense weight under a mask: for training, while the mask may still change.

The masked weight is made once a step: the forward makes it, the gradient of x reads it again, and
the gradient of the weight is masked where it lies.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.backends.activations import ACTIVATIONS
from secateur.ops._library import define, differentiate

GRADIENTS = ("kept", "dense")


_FORWARD = (
    "(Tensor x, Tensor weight, Tensor mask, Tensor? bias=None, *, str gradient='kept')"
    " -> (Tensor, Tensor)"
)
_DW = "(Tensor grad_y, Tensor x, Tensor mask) -> Tensor"

# Elements masked at a time on a CPU, where a product of two types copies its operands: 1 MiB.
_PART = 2**18


def masked_linear(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    bias: Tensor | None = None,
    *,
    act: str = "none",
    gradient: str = "kept",
) -> Tensor:
    """Return act(x (W * mask)ᵀ + bias), differentiable in x, weight and bias.

    One tensor of the weight's size is made beside the result, and kept for the backward if x has
    a gradient. What a removed weight is does not matter, be it NaN; but x meets zeros there, and
    inf in x makes NaN of them. Under autocast the operands are cast as those of F.linear.

    Args:
        x: [..., in], floating.
        weight: [out, in], of x's dtype.
        mask: [out, in], bool, True where a weight is kept.
        bias: [out], of x's dtype.
        act: "none", "relu", "gelu", "gelu_tanh", "silu" or "relu6".
        gradient: of the weight. "kept": zero where the mask is False. "dense": everywhere as if
            every weight were kept, which tells what weights to grow (RigL; Evci et al., "Rigging
            the Lottery", ICML 2020, section 3).

    Returns:
        [..., out], of x's dtype.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if anything else does not fit; the message names the argument.
    """
    if act not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"masked_linear: act must be one of {known}, got {act!r}")
    x, weight, bias = _autocast(x, weight, bias)
    _check(x, weight, mask, bias, gradient)
    y, _ = torch.ops.secateur.masked_linear.default(x, weight, mask, bias, gradient=gradient)
    return ACTIVATIONS[act].forward(y)


def keep(tensor: Tensor, mask: Tensor, out: Tensor) -> Tensor:
    """Write `tensor` to `out` where `mask` is True, zeros elsewhere; all [out, in].

    Args:
        tensor: floating.
        mask: bool.
        out: like `tensor`, or `tensor` itself.
    """
    # Bits times 1 or 0: a product of floats makes NaN of inf * 0, and torch.where branches.
    whole = getattr(torch, f"int{8 * tensor.element_size()}")
    bits, result = tensor.view(whole), out.view(whole)
    step = max(1, _PART // max(1, tensor.shape[1])) if tensor.is_cpu else len(tensor)
    for start in range(0, len(tensor), max(1, step)):
        part = slice(start, start + step)
        torch.mul(bits[part], mask[part], out=result[part])
    return out


def _forward(
    x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor | None = None, *, gradient: str = "kept"
) -> tuple[Tensor, Tensor]:
    """Return y and the masked weight."""
    _check(x, weight, mask, bias, gradient)
    product = keep(weight, mask, torch.empty(weight.shape, dtype=weight.dtype, device=x.device))
    return F.linear(x, product, bias).contiguous(), product


def _fake(
    x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor | None = None, *, gradient: str = "kept"
) -> tuple[Tensor, Tensor]:
    _check(x, weight, mask, bias, gradient)
    return x.new_empty((*x.shape[:-1], weight.shape[0])), weight.new_empty(weight.shape)


def _save(
    ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Any
) -> None:
    x, _, mask, _ = inputs
    needs_x, needs_weight, *_ = ctx.needs_input_grad
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x if needs_weight else None, mask, output[1] if needs_x else None)
    ctx.gradient = keyword_only_inputs["gradient"]


def _backward(
    ctx: Any, grad_y: Tensor | None, grad_product: Tensor | None
) -> tuple[Tensor | None, ...]:
    # The masked weight is differentiable as well: second derivatives reach the weight through it.
    x, mask, product = ctx.saved_tensors
    needs_x, needs_weight, _, needs_bias = (*ctx.needs_input_grad, False)[:4]
    dense = ctx.gradient == "dense"
    grad_x = grad_weight = grad_bias = None
    if grad_y is not None:
        grad_x = grad_y @ product if needs_x else None
        grad_bias = _rows(grad_y).sum(0) if needs_bias else None
        if needs_weight and dense:
            grad_weight = _rows(grad_y).T @ _rows(x)
        elif needs_weight:
            grad_weight = torch.ops.secateur.masked_linear_dw.default(grad_y, x, mask)
    if grad_product is not None and needs_weight:
        through = grad_product if dense else torch.where(mask, grad_product, 0)
        grad_weight = through if grad_weight is None else grad_weight + through
    return grad_x, grad_weight, None, grad_bias


def _dw(grad_y: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """Return (grad_yᵀ x) where kept, zeros elsewhere: [out, in]."""
    dense = _rows(grad_y).T @ _rows(x)
    return keep(dense, mask, dense)


def _fake_dw(grad_y: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    return grad_y.new_empty(mask.shape)


def _save_dw(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward_of_dw(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    # `grad` stands where the weight stands: dw is linear in x and in grad_y.
    grad_y, x, mask = ctx.saved_tensors
    by_grad_y, product = torch.ops.secateur.masked_linear.default(x, grad, mask)
    return by_grad_y, grad_y @ product, None


def _rows(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])


def _autocast(
    x: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    if not torch.is_autocast_enabled(x.device.type):
        return x, weight, bias
    wanted = torch.get_autocast_dtype(x.device.type)
    # As autocast has it: float64 stays.
    cast = [t if t is None or t.dtype == torch.float64 else t.to(wanted) for t in (x, weight, bias)]
    return tuple(cast)  # type: ignore[return-value]


def _check(x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor | None, gradient: str) -> None:
    op = "masked_linear"
    if gradient not in GRADIENTS:
        raise ValueError(f"{op}: gradient must be 'kept' or 'dense', got {gradient!r}")
    if mask.dtype != torch.bool:
        raise TypeError(f"{op}: mask must be bool, got {mask.dtype}; use for example weight != 0")
    if not x.dtype.is_floating_point:
        raise TypeError(f"{op}: x must be floating, got {x.dtype}; convert it first")
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype != x.dtype:
            raise TypeError(f"{op}: {name} is {tensor.dtype} but x is {x.dtype}; convert one")
    for name, tensor in (("weight", weight), ("mask", mask), ("bias", bias)):
        if tensor is not None and tensor.device != x.device:
            raise ValueError(
                f"{op}: {name} is on {tensor.device} but x is on {x.device}; move one of them"
            )
    if weight.dim() != 2 or mask.shape != weight.shape:
        raise ValueError(
            f"{op}: weight and mask must both be [out, in], got {list(weight.shape)} and "
            f"{list(mask.shape)}"
        )
    if x.dim() == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{op}: x must be [..., {weight.shape[1]}] for a weight {list(weight.shape)}, got "
            f"{list(x.shape)}"
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(f"{op}: bias must be [{weight.shape[0]}], got {list(bias.shape)}")


define("masked_linear", _FORWARD, _forward, _fake)
define("masked_linear_dw", _DW, _dw, _fake_dw)
differentiate("masked_linear", _backward, _save)
differentiate("masked_linear_dw", _backward_of_dw, _save_dw)
