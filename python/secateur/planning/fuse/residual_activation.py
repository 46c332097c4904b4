"""A sparse convolution, what was added to its output, and the activation of the sum: one call."""

from __future__ import annotations

from collections.abc import Iterator

from torch.fx import GraphModule

from secateur.planning.fuse._base import REWRITES, Match, Miss, Values
from secateur.planning.fuse._graph import layers
from secateur.planning.fuse.activation import taken_in


class ResidualActivation:
    """act(conv(x) + b + residual) in one call, as the blocks of a ResNet end."""

    name = "residual activation"
    order = 30

    def find(self, module: GraphModule, values: Values) -> Iterator[Match | Miss]:
        """Yield convolutions with a residual, followed by an activation that the op knows."""
        for layer in layers(module):
            if layer.kind == "conv2d" and layer.residual is not None:
                yield from taken_in(layer, f"{layer.name} + residual", residual_first=True)


REWRITES.register("residual activation")(ResidualActivation())
