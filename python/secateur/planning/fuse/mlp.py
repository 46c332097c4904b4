"""Two sparse layers, one fed by the other alone, as one call: what lies between is not written."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.fx import GraphModule, Node

from secateur.planning.fuse._base import REWRITES, Match, Miss, Values
from secateur.planning.fuse._graph import (
    Layer,
    linears,
    meta,
    mutation_between,
    read_linear,
    shaped_like,
)

FEWEST_ROWS = 16  # of x; below, the op is two calls of the linear op


class Mlp:
    """act_out(act(x W1ᵀ + b1) W2ᵀ + b2) + residual in one call."""

    name = "mlp"
    order = 40

    def find(self, module: GraphModule, values: Values) -> Iterator[Match | Miss]:
        """Yield pairs of layers."""
        for second in linears(module):
            first = read_linear(second.x)
            if first is None:
                continue
            what = f"{first.name} + {second.name}"
            reason = _why_not(first, second, values)
            if reason is not None:
                yield Miss(what, reason)
                continue
            old = (first.node, second.node)
            yield Match(what, old, old[1:], partial(_build, first, second))


def _build(first: Layer, second: Layer) -> list[Node]:
    target = getattr(torch.ops.secateur, f"{first.format}_mlp_infer").default
    weights = (first.x, first.values, first.index, second.values, second.index)
    arguments = (*weights, first.bias, second.bias, second.residual)
    options: dict[str, Any] = {
        "hidden_features": first.out_features,
        "out_features": second.out_features,
        "act": first.act,
        "act_out": second.act,
    }
    made = first.node.graph.call_function(target, arguments, options)
    made.meta["val"] = shaped_like(second.node, second.out_features)
    return [made]


def _why_not(first: Layer, second: Layer, values: Values) -> str | None:
    if len(first.node.users) > 1:
        return f"the first layer's output has {len(first.node.users)} users"
    if first.residual is not None:
        return "the first layer adds a residual"
    if first.format != second.format:
        return f"their formats differ: {first.format} and {second.format}"
    if not hasattr(torch.ops.secateur, f"{first.format}_mlp_infer"):
        return f"there is no such op for the format {first.format}"
    if first.dense is not None or second.dense is not None:
        return "one of them keeps a dense copy for some row counts"
    floats = (first.x, first.values, second.values)
    if any(meta(node).dtype != torch.float32 for node in floats):
        return "its kernels take float32 only"
    x = values.get(first.x)
    rows = 0 if x is None else x.numel() // max(1, x.shape[-1])
    if rows < FEWEST_ROWS:
        return f"the example has {rows} rows, below {FEWEST_ROWS}"
    blocked = mutation_between((first.node, second.node))
    return None if blocked is None else f"{blocked} in between works in place"


REWRITES.register("mlp")(Mlp())
