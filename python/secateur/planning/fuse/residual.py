"""A sparse layer and what is added to its output: the kernel adds it before it writes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.fx import GraphModule, Node

from secateur.planning.fuse._base import REWRITES, Match, Miss, Values
from secateur.planning.fuse._graph import (
    Layer,
    call,
    meta,
    mutation_between,
    read,
    same_shape,
)

_aten: Any = torch.ops.aten
_SUMS = (_aten.add.Tensor, _aten.add_.Tensor)


class Residual:
    """act(x Wᵀ + b) + residual in one call."""

    name = "residual"
    order = 20

    def find(self, module: GraphModule, values: Values) -> Iterator[Match | Miss]:
        """Yield sums of a layer's output and something of its shape."""
        for add in module.graph.nodes:
            if add.op != "call_function" or add.target not in _SUMS:
                continue
            reasons: list[Miss] = []
            # Either may be the layer: where the sum stood, both operands are there. A sum in place
            # may be written to a layer's output, and to nothing else.
            sides = (add.args[1::-1], add.args[:2])
            for mine, other in sides if add.target is _aten.add.Tensor else sides[1:]:
                layer = read(mine)
                if layer is None:
                    continue
                what = f"{layer.name} + {getattr(other, 'name', other)}"
                reason = _why_not(layer, add, other)
                if reason is None:
                    old = (layer.node, add)
                    yield Match(what, old, old[1:], partial(_build, layer, other))
                    break
                reasons.append(Miss(what, reason))
            else:
                yield from reasons


def _build(layer: Layer, residual: Node) -> list[Node]:
    return [call(layer, residual=residual)]


def _why_not(layer: Layer, add: Node, other: object) -> str | None:
    if len(layer.node.users) > 1:
        return f"the layer's output has {len(layer.node.users)} users"
    if not isinstance(other, Node) or "val" not in other.meta:
        return "what is added is no tensor"
    if other is layer.node:
        return "the output is added to itself"
    if layer.residual is not None:
        return "the layer has a residual already"
    if add.kwargs.get("alpha", 1) != 1:
        return f"what is added is multiplied by alpha={add.kwargs['alpha']}"
    if not isinstance(meta(other), torch.Tensor) or not same_shape(layer.node, other):
        return "the shapes differ: the sum broadcasts"
    if meta(other).dtype != meta(layer.node).dtype:
        return f"the dtypes differ: {meta(layer.node).dtype} and {meta(other).dtype}"
    blocked = mutation_between((layer.node, add))
    return None if blocked is None else f"{blocked} in between works in place"


REWRITES.register("residual")(Residual())
