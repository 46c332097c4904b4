"""A dense convolution before a pooling in channels_last: it writes that order itself.

torch convolves in channels_last where the weight lies so, whatever the order of x; the copy between
convolution and pooling, as large as the largest tensor of most networks, is then gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.fx import GraphModule, Node

from secateur.planning.fuse._base import REWRITES, Match, Miss, Values
from secateur.planning.fuse._graph import constant, mutation_between, tensor_of
from secateur.planning.fuse.activation import act_of

_aten: Any = torch.ops.aten


class ChannelsLast:
    """conv2d, an activation or none, and a copy to channels_last, without the copy."""

    name = "channels last"
    order = 60  # behind the pooling's, which adds the copy
    reads = (_aten.conv2d.default,)

    def find(self, module: GraphModule, values: Values) -> Iterator[Match | Miss]:
        """Yield dense convolutions whose result is only wanted in channels_last."""
        for node in module.graph.nodes:
            if not _is_copy(node):
                continue
            act = node.args[0] if act_of(node.args[0]) else None
            conv = act.args[0] if act is not None else node.args[0]
            if conv.op != "call_function" or conv.target is not _aten.conv2d.default:
                continue
            old = [step for step in (conv, act, node) if step is not None]
            weight, reason = tensor_of(module, conv.args[1]), _why_not(old)
            if reason is not None or weight is None:
                yield Miss(conv.name, reason or "its weight is computed")
            elif weight.is_cpu and conv.args[0] in values:
                yield Match(conv.name, old, (node,), partial(_build, module, conv, act))


def _is_copy(node: Node) -> bool:
    copies = node.op == "call_function" and node.target is _aten.clone.default
    return copies and node.kwargs.get("memory_format") is torch.channels_last


def _why_not(old: list[Node]) -> str | None:
    for node in old[:-1]:
        if len(node.users) > 1:
            return f"{node.name} has {len(node.users)} users"
    blocked = mutation_between(old)
    return None if blocked is None else f"{blocked} in between works in place"


def _build(module: GraphModule, conv: Node, act: Node | None) -> list[Node]:
    weight = tensor_of(module, conv.args[1])  # type: ignore[arg-type]
    assert weight is not None
    laid = constant(module, weight.detach().contiguous(memory_format=torch.channels_last))
    x, _, *rest = conv.args
    made = conv.graph.call_function(conv.target, (x, laid, *rest), dict(conv.kwargs))  # type: ignore[arg-type]
    made.meta["val"] = conv.meta["val"].contiguous(memory_format=torch.channels_last)
    if act is None:
        return [made]
    of_it = conv.graph.call_function(act.target, (made, *act.args[1:]), dict(act.kwargs))  # type: ignore[arg-type]
    of_it.meta["val"] = made.meta["val"]
    return [of_it]


REWRITES.register("channels last")(ChannelsLast())
