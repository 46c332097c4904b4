"""A sparse layer and what is added to its output: the kernel adds it before it writes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.fx import GraphModule, Node

from secateur.planning.fuse._base import REWRITES, Match, Miss, Values
from secateur.planning.fuse._graph import (
    Linear,
    call_linear,
    meta,
    mutation_between,
    read,
    same_shape,
)

_aten: Any = torch.ops.aten


class Residual:
    """act(x Wᵀ + b) + residual in one call."""

    name = "residual"
    order = 20

    def find(self, module: GraphModule, values: Values) -> Iterator[Match | Miss]:
        """Yield sums of a layer's output and something of its shape."""
        for add in module.graph.nodes:
            if add.op != "call_function" or add.target is not _aten.add.Tensor:
                continue
            reasons: list[Miss] = []
            # Either may be the layer: where the sum stood, both operands are there.
            for mine, other in (add.args[1::-1], add.args[:2]):
                linear = read(mine)
                if linear is None:
                    continue
                what = f"{linear.name} + {getattr(other, 'name', other)}"
                reason = _why_not(linear, add, other)
                if reason is None:
                    old = (linear.node, add)
                    yield Match(what, old, old[1:], partial(_build, linear, other))
                    break
                reasons.append(Miss(what, reason))
            else:
                yield from reasons


def _build(linear: Linear, residual: Node) -> list[Node]:
    return [call_linear(linear, residual=residual)]


def _why_not(linear: Linear, add: Node, other: object) -> str | None:
    if len(linear.node.users) > 1:
        return f"the layer's output has {len(linear.node.users)} users"
    if not isinstance(other, Node) or "val" not in other.meta:
        return "what is added is no tensor"
    if other is linear.node:
        return "the output is added to itself"
    if linear.residual is not None:
        return "the layer has a residual already"
    if add.kwargs.get("alpha", 1) != 1:
        return f"what is added is multiplied by alpha={add.kwargs['alpha']}"
    if not isinstance(meta(other), torch.Tensor) or not same_shape(linear.node, other):
        return "the shapes differ: the sum broadcasts"
    if meta(other).dtype != meta(linear.node).dtype:
        return f"the dtypes differ: {meta(linear.node).dtype} and {meta(other).dtype}"
    blocked = mutation_between((linear.node, add))
    return None if blocked is None else f"{blocked} in between works in place"


REWRITES.register("residual")(Residual())
