"""A layer whose inputs come in another order than the model gives them. No search here."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PermutedInput(nn.Module):
    """Gathers the channels of x, then calls the layer: its weight's columns are in that order.

    One copy of x a call. Prune and convert what is inside as any other layer.

    Args:
        layer: nn.Linear, or a convolution (not in groups), its columns already permuted.
        order: [channels], int64: which channel of x the layer reads at each place.
        dim: of the channels in x: -1, or -3 for images.

    Raises:
        ValueError: if `order` is no permutation.
    """

    order: Tensor

    def __init__(self, layer: nn.Module, order: Tensor, dim: int = -1) -> None:
        super().__init__()
        if not torch.equal(order.sort().values.cpu(), torch.arange(len(order))):
            raise ValueError(f"order: wanted a permutation of 0 to {len(order) - 1}")
        self.layer, self.dim = layer, dim
        self.register_buffer("order", order)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output for x in the order the model gives it."""
        y: Tensor = self.layer(x.index_select(self.dim, self.order))
        return y

    def extra_repr(self) -> str:
        """Return how many channels are gathered, for printing the module."""
        return f"channels={len(self.order)}, dim={self.dim}"
