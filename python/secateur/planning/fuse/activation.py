"""A sparse layer and the activation after it: the kernel applies it before it writes its sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch.fx import GraphModule, Node

from secateur.planning.fuse._base import REWRITES, Match, Miss, Values
from secateur.planning.fuse._graph import Layer, call, layers, mutation_between

_aten: Any = torch.ops.aten
# In place or not: the layer's own output has no other user.
_NAMES = {
    _aten.relu.default: "relu",
    _aten.relu_.default: "relu",
    _aten.silu.default: "silu",
    _aten.silu_.default: "silu",
    _aten.gelu.default: "gelu",
    _aten.gelu_.default: "gelu",
    _aten.relu6.default: "relu6",
    _aten.relu6_.default: "relu6",
    _aten.hardtanh.default: "hardtanh",  # what nn.ReLU6 calls
    _aten.hardtanh_.default: "hardtanh",
}


class Activation:
    """act(x Wᵀ + b) in one call."""

    name = "activation"
    order = 10

    def find(self, module: GraphModule, values: Values) -> Iterator[Match | Miss]:
        """Yield layers followed by an activation that the op knows."""
        for layer in layers(module):
            added = layer.residual is not None
            refusal = "a residual is added before the activation" if added else None
            yield from taken_in(layer, layer.name, refusal)


def taken_in(
    layer: Layer, name: str, refusal: str | None = None, **changes: object
) -> Iterator[Match | Miss]:
    """Yield what becomes of an activation after `layer`, if there is one.

    Args:
        layer: a sparse layer of the live graph.
        name: of what the activation is applied to, for the report.
        refusal: why the layer's op cannot take it in.
        changes: other arguments of the op that go with it.
    """
    acts = [(user, act) for user in layer.node.users if (act := act_of(user))]
    if not acts:
        return
    user, act = acts[0]
    reason = _why_not(layer, user, refusal)
    if reason is not None:
        yield Miss(f"{name} + {act}", reason)
        return
    old = (layer.node, user)
    yield Match(f"{name} + {act}", old, old[1:], partial(_build, layer, {"act": act, **changes}))


def act_of(node: Node) -> str | None:
    """Return the op's word for the activation that `node` is, or None."""
    name = _NAMES.get(node.target) if node.op == "call_function" else None
    if name == "hardtanh":
        return "relu6" if tuple(node.args[1:]) == (0, 6) else None
    approximate = node.kwargs.get("approximate", node.args[1] if len(node.args) > 1 else "none")
    return "gelu_tanh" if name == "gelu" and approximate == "tanh" else name


def _build(layer: Layer, changes: Mapping[str, object]) -> list[Node]:
    return [call(layer, **changes)]


def _why_not(layer: Layer, act: Node, refusal: str | None) -> str | None:
    if len(layer.node.users) > 1:
        return f"the layer's output has {len(layer.node.users)} users"
    if layer.act != "none":
        return f"the layer has an activation already, {layer.act}"
    if refusal is not None:
        return refusal
    blocked = mutation_between((layer.node, act))
    return None if blocked is None else f"{blocked} in between works in place"


REWRITES.register("activation")(Activation())
