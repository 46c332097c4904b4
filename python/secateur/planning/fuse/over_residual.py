"""A sparse convolution and a residual that nothing reads again: the result is written over it.

A sum then reads and writes the same lines of the cache; before, three images passed through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch.fx import GraphModule, Node

from secateur.planning.fuse._base import REWRITES, Match, Miss, Values
from secateur.planning.fuse._graph import Layer, call, layers, meta, read, same_shape


class OverResidual:
    """act(conv(x) + b + residual) in the residual's own memory."""

    name = "over residual"
    order = 90  # behind all that move calls: an order of reads and writes is relied on

    def find(self, module: GraphModule, values: Values) -> Iterator[Match | Miss]:
        """Yield convolutions with a residual that ends with them."""
        for layer in layers(module):
            residual = layer.residual
            if layer.kind != "conv2d" or residual is None or layer.node not in values:
                continue
            reason = _why_not(layer, residual)
            if reason is not None:
                yield Miss(layer.name, reason)
                continue
            node = layer.node
            yield Match(
                layer.name, (node,), (node,), partial(_build, layer, residual), spoils=residual
            )


def _build(layer: Layer, residual: Node) -> list[Node]:
    made = call(layer)
    made.target = getattr(torch.ops.secateur, f"{layer.format}_conv2d_over").default
    made.meta["val"] = None
    return [residual]


def _why_not(layer: Layer, residual: Node) -> str | None:
    if read(residual) is None:
        return "what is added was made by no sparse layer: it may be somebody else's memory"
    if layer.x is residual:
        return "what is added is the convolution's input too"
    for user in residual.users:
        if user is layer.node:
            continue
        if not _reads_only(user):
            return f"{user.name} may keep what is added"
        if not user < layer.node:
            return f"{user.name} reads what is added later"
    lies = meta(residual), meta(layer.node)
    if not same_shape(residual, layer.node) or lies[0].dtype != lies[1].dtype:
        return "what is added has another shape or dtype"
    if lies[0].is_contiguous() != lies[1].is_contiguous():
        return "what is added has another memory format"
    return None


def _reads_only(node: Node) -> bool:
    """Whether it is a sparse layer: their results are new, or over a residual they end."""
    return read(node) is not None or str(node.target).endswith("_conv2d_over.default")


REWRITES.register("over residual")(OverResidual())
