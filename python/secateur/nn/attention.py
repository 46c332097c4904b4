"""Multi-head attention whose projections are modules of their own, so that they can be sparse.

nn.MultiheadAttention reads its weights past its modules (in_proj_weight is a bare parameter and
out_proj is never called), so a layer inside it cannot be swapped alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from secateur.nn.projections import why_not
from secateur.nn.sparse_linear import SparseLinear


class SparseMultiheadAttention(nn.Module):
    """Drop-in for nn.MultiheadAttention with the same call, outputs, and masks.

    Attention is Vaswani et al. 2017 (arXiv:1706.03762), equation 1.

    Attributes:
        in_proj: projections of the inputs, each giving one or several of query, key and value:
            one [3E, E] where all three come from the same x, else [E, E] and [2E, E], or three.
        out_proj: [E, E].

    Shape:
        query [L, N, E], key [S, N, kdim], value [S, N, vdim] -> [L, N, E]; N first with
        batch_first; without N where unbatched.
    """

    def __init__(
        self,
        like: nn.MultiheadAttention | SparseMultiheadAttention,
        in_proj: Sequence[nn.Module],
        out_proj: nn.Module,
    ) -> None:
        """Take the settings of `like`, and its projections as modules.

        Raises:
            ValueError: if `like` adds a bias or zeros to its keys and values.
        """
        super().__init__()
        # torch does not annotate these.
        self.embed_dim: int
        self.kdim: int
        self.vdim: int
        self.num_heads: int
        self.head_dim: int
        self.dropout: float
        self.batch_first: bool
        reason = why_not(like) if isinstance(like, nn.MultiheadAttention) else None
        if reason is not None:
            raise ValueError(f"like: wanted a plain nn.MultiheadAttention, got one where {reason}")
        self.embed_dim = like.embed_dim
        self.kdim = like.kdim
        self.vdim = like.vdim
        self.num_heads = like.num_heads
        self.head_dim = like.head_dim
        self.dropout = like.dropout
        self.batch_first = like.batch_first
        self.in_proj = nn.ModuleList(in_proj)
        # How many of query, key and value each of in_proj gives.
        self.shares = tuple(_out_features(part) // like.embed_dim for part in in_proj)
        self.out_proj = out_proj
        # Read by nn.TransformerEncoderLayer and -Encoder: they must not take their fused path,
        # which would read dense weights.
        self._qkv_same_embed_dim = False
        self.bias_k = None
        self.bias_v = None
        self.add_zero_attn = False
        self.training = self.in_proj.training = like.training

    @property
    def in_proj_weight(self) -> Tensor:
        """Dense [3E, E], a copy (not to be had where kdim or vdim differ from embed_dim)."""
        return torch.cat([_weight(part) for part in self.in_proj])

    @property
    def in_proj_bias(self) -> Tensor | None:
        """Dense [3E], a copy, or None."""
        biases = [part.bias for part in self.in_proj]
        return torch.cat([b for b in biases if isinstance(b, Tensor)]) if _any(biases) else None

    def forward(  # noqa: PLR0913  nn.MultiheadAttention's signature
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
        """Attend, as nn.MultiheadAttention does; see there for the masks.

        Returns:
            Output like query, and attention weights [N, L, S] ([N, heads, L, S] with
            average_attn_weights=False), or None without need_weights.

        Raises:
            ValueError: if is_causal is set without attn_mask, or masks have wrong shapes.
        """
        if is_causal and attn_mask is None:
            raise ValueError(
                "attn_mask: wanted with is_causal=True, which is only a hint, got None"
            )
        batched = query.dim() == 3
        q, k, v = (
            self._heads(y if self.batch_first or not batched else y.transpose(0, 1))
            for y in self._project(query, key, value)
        )
        dropout = self.dropout if self.training else 0.0
        # The hint is taken where it spares the mask; with padding the mask is needed anyway.
        causal = is_causal and key_padding_mask is None and not need_weights
        bias = self._bias(q, k, None if causal else attn_mask, key_padding_mask)
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
            shares = F.softmax(scores if bias is None else scores + bias, dim=-1)
            shares = F.dropout(shares, dropout) if dropout else shares
            context = shares @ v
        else:
            context = F.scaled_dot_product_attention(q, k, v, bias, dropout, causal)
            shares = None
        output = self.out_proj(context.transpose(1, 2).flatten(2))
        if shares is not None and average_attn_weights:
            shares = shares.mean(dim=1)
        if not batched:
            return output.squeeze(0), None if shares is None else shares.squeeze(0)
        return (output if self.batch_first else output.transpose(0, 1)), shares

    def _project(self, *inputs: Tensor) -> list[Tensor]:
        """Return query, key and value after their projections, sharing one call where they can."""
        done: list[Tensor] = []
        for part, share in zip(self.in_proj, self.shares, strict=True):
            mine = inputs[len(done) : len(done) + share]
            if all(x is mine[0] for x in mine):
                done += part(mine[0]).chunk(share, dim=-1)
            else:
                done += [part(x).chunk(share, dim=-1)[i] for i, x in enumerate(mine)]
        return done

    def _heads(self, y: Tensor) -> Tensor:
        """[N, T, E] or [T, E] -> [N, heads, T, head_dim]."""
        y = y if y.dim() == 3 else y.unsqueeze(0)
        return y.view(*y.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def _bias(
        self, q: Tensor, k: Tensor, attn_mask: Tensor | None, padding: Tensor | None
    ) -> Tensor | None:
        """Return what is added to the scores, broadcastable to [N, heads, L, S], or None."""
        n, heads, rows, columns = *q.shape[:3], k.shape[2]
        bias = None
        if attn_mask is not None:
            bias = _additive(attn_mask, q.dtype)
            if bias.dim() == 3:
                _check_shape("attn_mask", bias, (n * heads, rows, columns))
                bias = bias.view(n, heads, rows, columns)
            else:
                _check_shape("attn_mask", bias, (rows, columns))
        if padding is not None:
            padding = _additive(padding, q.dtype)
            padding = padding if padding.dim() == 2 else padding.unsqueeze(0)
            _check_shape("key_padding_mask", padding, (n, columns))
            padding = padding.view(n, 1, 1, columns)
            bias = padding if bias is None else bias + padding
        return bias

    def to_dense(self) -> nn.MultiheadAttention:
        """Return an nn.MultiheadAttention with the same weights, zeros and all, and mode."""
        out = self.out_proj
        made: nn.MultiheadAttention = nn.utils.skip_init(
            nn.MultiheadAttention,
            self.embed_dim,
            self.num_heads,
            dropout=self.dropout,
            bias=out.bias is not None,
            kdim=self.kdim,
            vdim=self.vdim,
            batch_first=self.batch_first,
            device="meta",
        )
        weights = [_weight(part) for part in self.in_proj]
        if made.in_proj_weight is not None:
            made.in_proj_weight = _copy(torch.cat(weights), self.in_proj[0])
        else:
            for name, weight, part in zip("qkv", weights, self.in_proj, strict=True):
                setattr(made, f"{name}_proj_weight", _copy(weight, part))
        made.out_proj.weight = _copy(_weight(out), out)
        bias = self.in_proj_bias
        if bias is not None:
            made.in_proj_bias = _copy(bias, self.in_proj[0])
            made.out_proj.bias = _copy(out.bias, out)
        return made.train(self.training)

    def extra_repr(self) -> str:
        """Say what is not seen from the projections."""
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, dropout={self.dropout}"


def _out_features(part: nn.Module) -> int:
    assert isinstance(part.out_features, int)
    return part.out_features


def _weight(part: nn.Module) -> Tensor:
    weight = part.weight if isinstance(part, nn.Linear | SparseLinear) else None
    assert weight is not None
    return weight


def _copy(tensor: Tensor | nn.Module, like: nn.Module) -> nn.Parameter:
    assert isinstance(tensor, Tensor)
    trains = any(p.requires_grad for p in like.parameters())
    return nn.Parameter(tensor.detach().clone(), requires_grad=trains)


def _any(biases: Sequence[object]) -> bool:
    return any(b is not None for b in biases)


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `mask` as numbers to add: True (may not attend) becomes minus infinity."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf"))


def _check_shape(name: str, mask: Tensor, wanted: tuple[int, ...]) -> None:
    if mask.shape != wanted:
        raise ValueError(f"{name}: wanted shape {list(wanted)}, got {list(mask.shape)}")
