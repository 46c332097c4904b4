"""Sparse layers in an ATen-level graph: reading a call, naming it, adding one. No rewriting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.symbolic_shapes import statically_known_true

from secateur.formats import FORMATS

_TENSORS = ("x", "values", "index", "bias", "residual", "scale", "dense", "transposed")


@dataclass(frozen=True)
class Layer:
    """A call of a sparse op, its arguments by the names of the schema.

    Attributes:
        kind: "linear" or "conv2d".
        options: every other keyword argument of the op.
    """

    node: Node
    kind: str
    format: str
    x: Node
    values: Node
    index: Node
    bias: Node | None
    residual: Node | None
    scale: Node | None
    dense: Node | None
    act: str
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The layer's name in the model, or the node's where its weight is no attribute."""
        if self.values.op == "get_attr":
            return str(self.values.target).rpartition(".")[0] or self.node.name
        return self.node.name

    @property
    def out_features(self) -> int:
        """Outputs of a linear layer."""
        out: int = self.options["out_features"]
        return out


def read(node: object) -> Layer | None:
    """Return the call that `node` is; None if it is no sparse layer."""
    if not isinstance(node, Node) or node.op != "call_function":
        return None
    found = _ops().get(node.target)
    if found is None:
        return None
    given: dict[str, Any] = dict.fromkeys(_TENSORS)
    given.update(zip(_TENSORS, node.args, strict=False))
    options = dict(node.kwargs)
    given.update({name: options.pop(name) for name in _TENSORS if name in options})
    given.pop("transposed")
    act = str(options.pop("act", "none"))
    return Layer(node, *found, **given, act=act, options=options)


def layers(module: GraphModule) -> Iterator[Layer]:
    """Yield every sparse layer, walking the live graph."""
    for node in module.graph.nodes:
        layer = read(node)
        if layer is not None:
            yield layer


def linears(module: GraphModule) -> Iterator[Layer]:
    """Yield every sparse linear layer, walking the live graph."""
    return (layer for layer in layers(module) if layer.kind == "linear")


def read_linear(node: object) -> Layer | None:
    """Return the call that `node` is; None if it is no sparse linear layer."""
    layer = read(node)
    return layer if layer is not None and layer.kind == "linear" else None


def call(layer: Layer, **changes: Any) -> Node:
    """Add a call like `layer` with some arguments changed, without its gradient."""
    fields = {name: getattr(layer, name) for name in (*_TENSORS[:-1], "act")}
    fields |= layer.options
    fields.update(changes)
    # Weights that only a gradient needs stay behind.
    tensors = tuple(fields.pop(name) for name in _TENSORS[:-1])
    format = fields.pop("format", layer.format)
    target = getattr(torch.ops.secateur, f"{format}_{layer.kind}_infer").default
    made = layer.node.graph.call_function(target, tensors, fields)
    like = layer.node
    linear = layer.kind == "linear"
    made.meta["val"] = shaped_like(like, fields["out_features"]) if linear else meta(like)
    return made


def constant(module: GraphModule, tensor: Tensor) -> Node:
    """Add `tensor` to the module as a buffer, and a node that reads it."""
    number = sum(name.startswith("fused_") for name in module._buffers)
    name = f"fused_{number}"
    module.register_buffer(name, tensor)
    node = module.graph.get_attr(name)
    node.meta["val"] = tensor
    return node


def tensor_of(module: GraphModule, node: Node | None) -> Tensor | None:
    """Return the tensor that an attribute node reads; None if it is no such node."""
    if node is None or node.op != "get_attr":
        return None
    found: Any = module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found if isinstance(found, Tensor) else None


def meta(node: Node) -> Tensor:
    """Return the node's fake tensor: shape (perhaps symbolic) and dtype."""
    value: Tensor = node.meta["val"]
    return value


def shaped_like(node: Node, features: int) -> Tensor:
    """Return a fake tensor like node's with another last dimension."""
    like = meta(node)
    return like.new_empty((*like.shape[:-1], features))


def same_shape(one: Node, other: Node) -> bool:
    """Tell whether two nodes have one shape for every batch."""
    shapes = meta(one).shape, meta(other).shape
    return len(shapes[0]) == len(shapes[1]) and all(
        statically_known_true(a == b) for a, b in zip(*shapes, strict=True)
    )


def mutation_between(nodes: Sequence[Node]) -> str | None:
    """Return the name of an op in place from the first to the last of `nodes`, or None.

    Such an op may write what a replacement at either end would read too late or too soon.
    """
    node = nodes[0]
    while node is not nodes[-1]:
        node = node.next
        schema = getattr(node.target, "_schema", None)
        if node not in nodes and schema is not None and schema.is_mutable:
            return node.name
    return None


def _ops() -> dict[Any, tuple[str, str]]:
    """The sparse ops there are, and the kind and format of each."""
    found = {}
    for format in FORMATS.names():
        for kind in ("linear", "conv2d"):
            for suffix in ("", "_infer"):
                op = getattr(torch.ops.secateur, f"{format}_{kind}{suffix}", None)
                if op is not None:
                    found[op.default] = (kind, format)
    return found
