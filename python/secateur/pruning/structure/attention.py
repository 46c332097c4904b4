"""nn.MultiheadAttention that may have fewer heads than its embedding has room for.

torch's own takes the width of a head to be embed_dim / num_heads, so it cannot lose one.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn


class HeadAttention(nn.MultiheadAttention):
    """Drop-in for nn.MultiheadAttention: the same parameters, calls and outputs, fewer heads.

    Attention is Vaswani et al. 2017 (arXiv:1706.03762), equation 1. `head_dim` does not follow from
    `embed_dim`; in_proj_weight is [3 · heads · head_dim, E], out_proj.weight [E, heads · head_dim].
    An nn.MultiheadAttention becomes one by its `__class__`, so there is no constructor to call.
    """

    num_heads: int
    head_dim: int
    batch_first: bool

    def forward(  # noqa: PLR0913  (nn.MultiheadAttention's signature)
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, as nn.MultiheadAttention does; see there for shapes and masks.

        Raises:
            ValueError: if is_causal is set without attn_mask.
        """
        if is_causal and attn_mask is None:
            raise ValueError("attn_mask: wanted with is_causal=True, only a hint, got None")
        batched = query.dim() == 3
        q, k, v = (
            self._heads(y if self.batch_first or not batched else y.transpose(0, 1))
            for y in self._projected(query, key, value)
        )
        dropout = self.dropout if self.training else 0.0
        causal = is_causal and key_padding_mask is None and not need_weights
        bias = _bias(q, k, None if causal else attn_mask, key_padding_mask)
        shares = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
            shares = F.softmax(scores if bias is None else scores + bias, dim=-1)
            context = F.dropout(shares, dropout, self.training) @ v
            shares = shares if batched else shares.squeeze(0)
            shares = shares.mean(dim=-3) if average_attn_weights else shares
        else:
            context = F.scaled_dot_product_attention(q, k, v, bias, dropout, causal)
        context = context.transpose(1, 2).flatten(2)
        output = F.linear(context, self.out_proj.weight, self.out_proj.bias)
        if not batched:
            return output.squeeze(0), shares
        return (output if self.batch_first else output.transpose(0, 1)), shares

    def _projected(self, *inputs: Tensor) -> list[Tensor]:
        bias: Tensor | None = self.in_proj_bias
        packed: Tensor | None = self.in_proj_weight
        weights: tuple[Tensor, ...]
        biases = (None, None, None) if bias is None else bias.chunk(3)
        if packed is None:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        elif inputs[0] is inputs[1] is inputs[2]:
            return list(F.linear(inputs[0], packed, bias).chunk(3, dim=-1))
        else:
            weights = packed.chunk(3)
        return [F.linear(*each) for each in zip(inputs, weights, biases, strict=True)]

    def _heads(self, y: Tensor) -> Tensor:
        """[N, T, heads * head_dim] or without N -> [N, heads, T, head_dim]."""
        y = y if y.dim() == 3 else y.unsqueeze(0)
        heads: Tensor = y.unflatten(-1, (self.num_heads, self.head_dim))
        return heads.transpose(1, 2)


def _bias(q: Tensor, k: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor | None:
    """Return what is added to the scores, broadcastable to [N, heads, L, S], or None."""
    bias = None
    if mask is not None:
        bias = _additive(mask, q)
        if bias.dim() == 3:
            bias = bias.unflatten(0, (q.shape[0], -1))
    if padding is not None:
        columns = _additive(padding, q).reshape(q.shape[0], 1, 1, k.shape[2])
        bias = columns if bias is None else bias + columns
    return bias


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask to add: of a bool mask, -inf where it is true."""
    if mask.is_floating_point():
        return mask.to(like.dtype)
    return like.new_zeros(mask.shape).masked_fill(mask, float("-inf"))


def open_heads(model: nn.Module) -> Iterator[tuple[str, HeadAttention]]:
    """Make every plain nn.MultiheadAttention of `model` a HeadAttention, in place; yield them."""
    for name, module in model.named_modules():
        if type(module) is not nn.MultiheadAttention:
            continue
        if module.bias_k is None and not module.add_zero_attn:
            module.__class__ = HeadAttention
            # Read by nn.TransformerEncoderLayer, which must not take its fused path.
            module._qkv_same_embed_dim = False
            yield name, module  # type: ignore[misc]


def close_heads(module: HeadAttention) -> None:
    """Make it an nn.MultiheadAttention again, in place."""
    module.__class__ = nn.MultiheadAttention  # type: ignore[assignment]
    module._qkv_same_embed_dim = module.in_proj_weight is not None
