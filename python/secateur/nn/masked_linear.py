"""A linear layer on a dense weight under a mask, for training. The op is ops.masked_linear."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from secateur import ops


class MaskedLinear(nn.Linear):
    """y = x @ (W * mask)^T + b: removed weights take no part, whatever an optimizer does to them.

    `SparseLinear.from_dense` and `convert` take the layer with its mask.

    Attributes:
        weight: [out_features, in_features], removed weights included.
        mask: bool [out_features, in_features], True where a weight is kept; a buffer, to be
            changed in place.
        gradient: of the weight: "kept" is zero where the mask is False; "dense" is not, for
            methods that grow weights by it.

    Shape:
        x [..., in_features] -> [..., out_features].
    """

    mask: Tensor
    gradient: str

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        every = torch.ones(out_features, in_features, dtype=torch.bool, device=device)
        self.register_buffer("mask", every)
        self.gradient = "kept"

    @classmethod
    def from_dense(
        cls, linear: nn.Linear, mask: Tensor | None = None, *, gradient: str = "kept"
    ) -> MaskedLinear:
        """Return a masked copy of a dense layer; an optimizer is to be made after it.

        Args:
            linear: a linear layer; a weight under torch.nn.utils.prune or parametrize is taken as
                the forward sees it.
            mask: [out_features, in_features], nonzero where a weight is kept; None: that of a
                MaskedLinear, otherwise where the weight is not zero.
            gradient: "kept" or "dense".

        Raises:
            TypeError: if `linear` is another kind of module.
            ValueError: if the mask's shape is wrong or `gradient` is another word.
        """
        if not isinstance(linear, nn.Linear):
            raise TypeError(f"linear: wanted nn.Linear, got {type(linear).__name__}")
        if gradient not in ("kept", "dense"):
            raise ValueError(f"gradient: wanted 'kept' or 'dense', got {gradient!r}")
        weight = linear.weight.detach()
        if mask is None:
            mask = linear.mask if isinstance(linear, MaskedLinear) else weight
        if mask.shape != weight.shape:
            raise ValueError(
                f"mask: wanted the weight's shape [out, in] = {list(weight.shape)}, "
                f"got {list(mask.shape)}"
            )
        made: MaskedLinear = nn.utils.skip_init(
            cls,
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            device=weight.device,
            dtype=weight.dtype,
        )
        with torch.no_grad():
            made.mask.copy_(mask != 0)
            made.weight.copy_(weight)
            if linear.bias is not None:
                made.bias.copy_(linear.bias)
        made.gradient = gradient
        made.train(linear.training)
        trains = any(p.requires_grad for p in linear.parameters())
        return made.requires_grad_(trains)

    def forward(self, x: Tensor) -> Tensor:
        """Return x @ (W * mask)^T + b for x [..., in_features]."""
        return ops.masked_linear(x, self.weight, self.mask, self.bias, gradient=self.gradient)

    def extra_repr(self) -> str:
        """Return nn.Linear's line, with the sparsity."""
        kept = 1.0 if self.mask.is_meta else self.mask.float().mean().item()
        return f"{super().extra_repr()}, sparsity={1 - kept:.3f}, gradient={self.gradient}"
