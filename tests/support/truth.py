"""What the right answer is, in float64, as a sum over the kept positions: no packed weight here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Truth:
    """An answer, and the pieces of its forward error bound; float64, all shaped like y.

    Args:
        y: the answer.
        pre: before the activation, bias included.
        absolute: sum of |x| |w| over the kept positions.
        terms: summands of the longest sum.
        bias: |bias|, or zeros.
        residual: |residual|, or zeros.
        act: the activation's name.
    """

    y: Tensor
    pre: Tensor
    absolute: Tensor
    terms: int
    bias: Tensor
    residual: Tensor
    act: str = "none"


def linear(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    act: str = "none",
) -> Truth:
    """Return act(x Wᵀ + bias) + residual for x [..., in] and weight, mask [out, in]."""
    kept_sum = _sum_over_kept(x, weight, mask)
    added = torch.zeros_like(kept_sum)
    bias_term = added if bias is None else added + bias.double()
    residual_term = added if residual is None else residual.double()
    pre = kept_sum + bias_term
    return Truth(
        y=activation(act, pre) + residual_term,
        pre=pre,
        absolute=_sum_over_kept(x.abs(), weight.abs(), mask),
        terms=int(mask.sum(1).max()),
        bias=bias_term.abs(),
        residual=residual_term.abs(),
        act=act,
    )


def conv2d(x: Tensor, weight: Tensor, bias: Tensor, act: str = "none", **geometry: object) -> Truth:
    """Return act(conv2d(x, W) + bias) for finite x, padded already, and W [out, in, kh, kw].

    `geometry` is F.conv2d's stride, dilation and groups.
    """
    wide, dense, shift = x.double(), weight.double(), bias.double()[:, None, None]
    kept_sum: Tensor = F.conv2d(wide, dense, None, **geometry)  # type: ignore[arg-type]
    absolute = F.conv2d(wide.abs(), dense.abs(), None, **geometry)  # type: ignore[arg-type]
    pre, none = kept_sum + shift, torch.zeros_like(kept_sum)
    terms = weight[0].numel()
    return Truth(activation(act, pre), pre, absolute, terms, none + shift.abs(), none, act)


def grad_x(grad_y: Tensor, weight: Tensor, mask: Tensor) -> Truth:
    """Return grad_y W for grad_y [..., out]."""
    return linear(grad_y, weight.T, mask.T)


def grad_weight(grad_y: Tensor, x: Tensor, mask: Tensor) -> Truth:
    """Return (grad_yᵀ x) where kept, zero elsewhere: [out, in]."""
    rows = grad_y.double().reshape(-1, mask.shape[0])
    x = x.double().reshape(-1, mask.shape[1])
    gradient = torch.where(mask, rows.T @ x, 0.0)
    return Truth(
        y=gradient,
        pre=gradient,
        absolute=torch.where(mask, rows.T.abs() @ x.abs(), 0.0),
        terms=len(x),
        bias=torch.zeros_like(gradient),
        residual=torch.zeros_like(gradient),
    )


def activation(name: str, x: Tensor) -> Tensor:
    """Return the activation of x."""
    if name == "gelu_tanh":
        return F.gelu(x, approximate="tanh")
    named = {"none": lambda v: v, "relu": F.relu, "gelu": F.gelu, "silu": F.silu, "relu6": F.relu6}
    return named[name](x)


def _sum_over_kept(x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    rows = x.double().reshape(-1, x.shape[-1])
    sums = [torch.where(mask, weight.double() * row, 0.0).sum(1) for row in rows]
    y = torch.stack(sums) if sums else rows.new_zeros(0, len(weight))
    return y.reshape(*x.shape[:-1], len(weight))
