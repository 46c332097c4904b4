"""The projections of nn.MultiheadAttention as layers, read out of its bare parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from secateur.pruning import reparametrised


def why_not(attention: nn.MultiheadAttention) -> str | None:
    """Return why `attention` has no drop-in here, or None if it has."""
    if attention.bias_k is not None or attention.bias_v is not None:
        return "add_bias_kv=True extends keys and values"
    if attention.add_zero_attn:
        return "add_zero_attn=True extends keys and values"
    if type(attention).forward is not nn.MultiheadAttention.forward:
        return f"{type(attention).__name__} has a forward of its own"
    return None


def projections(attention: nn.MultiheadAttention, shared: Sequence[int]) -> list[nn.Linear]:
    """Return the input projections of `attention` as layers.

    Args:
        attention: is left as it is; the layers have copies of its weights.
        shared: how many of query, key, value each layer gives, summing to 3: (3,) where all
            come from one x, (1, 2) where key and value do, else (1, 1, 1).
    """
    weight = attention.in_proj_weight
    if weight is not None:
        trains = weight.requires_grad
        weights = list(now(attention, "in_proj_weight").detach().chunk(3))
    else:
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        weights = [now(attention, name) for name in names]
        trains = any(getattr(attention, name).requires_grad for name in names)
        shared = (1, 1, 1)
    biases: Sequence[Tensor | None] = (None, None, None)
    if attention.in_proj_bias is not None:
        biases = attention.in_proj_bias.detach().chunk(3)
    layers, start = [], 0
    for count in shared:
        some = [b for b in biases[start : start + count] if b is not None]
        whole = torch.cat([w.detach() for w in weights[start : start + count]])
        layer = plain_linear(whole, torch.cat(some) if some else None)
        layers.append(layer.requires_grad_(trains))
        start += count
    return layers


def now(module: nn.Module, name: str) -> Tensor:
    """Return a weight; behind another library's mask, what the next forward pass makes of it."""
    weight = module._parameters.get(name)
    found = reparametrised.current(module, name) if weight is None else weight
    assert found is not None
    return found


def plain_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return an nn.Linear around `weight` [out, in] and `bias` [out], taken as they are."""
    layer: nn.Linear = nn.utils.skip_init(
        nn.Linear, weight.shape[1], weight.shape[0], bias=bias is not None, device="meta"
    )
    layer.weight = _parameter(weight)
    if bias is not None:
        layer.bias = _parameter(bias)
    return layer


def _parameter(tensor: Tensor) -> nn.Parameter:
    if isinstance(tensor, nn.Parameter):
        return tensor
    return nn.Parameter(tensor.detach(), requires_grad=tensor.requires_grad)
