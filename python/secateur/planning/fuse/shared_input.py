"""Sparse layers with one input as one layer with all their outputs; see nn/sparse_group.py."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import partial
from typing import Any

import torch
from torch.fx import GraphModule, Node

from secateur.formats import Header
from secateur.nn.sparse_group import join, join_biases
from secateur.planning.fuse._base import REWRITES, Match, Miss, Values
from secateur.planning.fuse._graph import (
    Layer,
    call,
    constant,
    meta,
    mutation_between,
    read_linear,
    tensor_of,
)

_aten: Any = torch.ops.aten


class SharedInput:
    """x (Wq; Wk; Wv)ᵀ in one call, its outputs as slices."""

    name = "shared input"
    order = 30

    def find(self, module: GraphModule, values: Values) -> Iterator[Match | Miss]:
        """Yield groups of two or more layers that have the same x."""
        for x in module.graph.nodes:
            users = [linear for linear in map(read_linear, x.users) if linear and linear.x is x]
            if len(users) < 2:
                continue
            order = {node: at for at, node in enumerate(module.graph.nodes)}
            users.sort(key=lambda linear: order[linear.node])
            groups: dict[Hashable, list[Layer]] = {}
            for linear in users:
                reason = _why_not(linear, module)
                if reason is not None:
                    yield Miss(linear.name, reason)
                    continue
                groups.setdefault(_kind(linear, module), []).append(linear)
            yield from (_judged(group, module) for group in groups.values())


def _judged(group: list[Layer], module: GraphModule) -> Match | Miss:
    what = " + ".join(linear.name for linear in group)
    if len(group) < 2:
        return Miss(what, "no other layer on this input is of its format, type and activation")
    nodes = [linear.node for linear in group]
    blocked = mutation_between(nodes)
    if blocked is not None:
        return Miss(what, f"{blocked} in between works in place")
    return Match(what, nodes, nodes, partial(_build, group, module), first=True)


def _why_not(linear: Layer, module: GraphModule) -> str | None:
    if linear.residual is not None:
        return "it adds a residual of its own"
    if linear.scale is not None:
        return "its values are int8"
    if linear.dense is not None:
        return "it keeps a dense copy for some row counts"
    tensors = (linear.values, linear.index, *([linear.bias] if linear.bias else []))
    if any(tensor_of(module, node) is None for node in tensors):
        return "its weight is no constant of the graph"
    return None


def _kind(linear: Layer, module: GraphModule) -> Hashable:
    """What layers must have in common: format and pattern, types, activation."""
    index, values = tensor_of(module, linear.index), tensor_of(module, linear.values)
    assert index is not None and values is not None
    header = Header.read(index)
    bias = None if linear.bias is None else meta(linear.bias).dtype
    return linear.format, header.n, header.m, values.dtype, bias or values.dtype, linear.act


def _build(group: list[Layer], module: GraphModule) -> list[Node]:
    parts, biases = [], []
    for linear in group:
        values, index = tensor_of(module, linear.values), tensor_of(module, linear.index)
        assert values is not None and index is not None
        parts.append((linear.format, values, index))
        biases.append(tensor_of(module, linear.bias))
    packed = join(parts)
    sizes = [linear.out_features for linear in group]
    bias = join_biases(biases, sizes, packed.values)
    joined = call(
        group[0],
        format=packed.format,
        values=constant(module, packed.values),
        index=constant(module, packed.index),
        bias=None if bias is None else constant(module, bias),
        out_features=sum(sizes),
    )
    slices, start = [], 0
    for linear in group:
        end = start + linear.out_features
        arguments = (joined, meta(joined).dim() - 1, start, end)
        made = module.graph.call_function(_aten.slice.Tensor, arguments)
        made.meta["val"] = meta(joined)[..., start:end]
        _loosen_views(linear.node)
        slices.append(made)
        start = end
    return slices


def _loosen_views(node: Node) -> None:
    """Let users view a slice as a layer's output is viewed: copied where strides forbid a view."""
    for user in node.users:
        if user.op == "call_function" and user.target is _aten.view.default:
            user.target = _aten.reshape.default


REWRITES.register("shared input")(SharedInput())
