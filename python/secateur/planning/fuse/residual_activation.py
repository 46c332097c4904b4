"""A sparse convolution, what was added to its output, and the activation of the sum: one call."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch.fx import GraphModule, Node

from secateur.planning.fuse._base import REWRITES, Match, Miss, Values
from secateur.planning.fuse._graph import Layer, call, layers, mutation_between
from secateur.planning.fuse.activation import act_of


class ResidualActivation:
    """act(conv(x) + b + residual) in one call, as the blocks of a ResNet end."""

    name = "residual activation"
    order = 30

    def find(self, module: GraphModule, values: Values) -> Iterator[Match | Miss]:
        """Yield convolutions with a residual, followed by an activation that the op knows."""
        for layer in layers(module):
            if layer.kind != "conv2d" or layer.residual is None:
                continue
            acts = [(user, act) for user in layer.node.users if (act := act_of(user))]
            if not acts:
                continue
            user, act = acts[0]
            what = f"{layer.name} + residual + {act}"
            reason = _why_not(layer, user)
            if reason is not None:
                yield Miss(what, reason)
                continue
            old = (layer.node, user)
            yield Match(what, old, old[1:], partial(_build, layer, act))


def _build(layer: Layer, act: str) -> list[Node]:
    return [call(layer, act=act, residual_first=True)]


def _why_not(layer: Layer, act: Node) -> str | None:
    if len(layer.node.users) > 1:
        return f"the sum has {len(layer.node.users)} users"
    if layer.act != "none":
        return f"the layer has an activation already, {layer.act}"
    blocked = mutation_between((layer.node, act))
    return None if blocked is None else f"{blocked} in between works in place"


REWRITES.register("residual activation")(ResidualActivation())
