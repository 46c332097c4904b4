"""How large a call of a layer is: what decides how fast it runs, beside the layer itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.nn.dense_layer import DenseLayer


@dataclass(frozen=True, order=True)
class Size:
    """One size of call.

    Attributes:
        rows: rows of x after flattening; of a convolution, pixels of y in the whole batch.
        image: of a convolution, (N, H, W) of x, where it is known; a sequence has H = 1.
    """

    rows: int
    image: tuple[int, int, int] | None = None

    def random_x(self, layer: DenseLayer) -> Tensor:
        """Return an x of this size for `layer`, the same at each call, on its weight's device."""
        shape: tuple[int, ...] = (self.rows, layer.weight.shape[1])
        if layer.geometry is not None:
            assert self.image is not None
            images, high, wide = self.image
            columns, geometry = layer.weight.shape[1], layer.geometry
            channels = columns // geometry.taps * geometry.groups
            shape = (images, channels, *(high, wide)[-geometry.dims :])
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return x.to(layer.weight.device, layer.weight.dtype)


def linear(rows: set[int] | frozenset[int]) -> frozenset[Size]:
    """Return sizes of a linear layer."""
    return frozenset(map(Size, rows))
