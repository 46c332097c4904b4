"""Some nodes of a graph as a function of their own, and the values they had on the example."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.utils._pytree import tree_leaves

from secateur.planning.fuse._capture import Captured
from secateur.planning.fuse._graph import layers, tensor_of


def near_values(captured: Captured, reads: Collection[Any] = ()) -> dict[Node, Tensor]:
    """Run the example; return the tensors of sparse layers, their inputs, users, and theirs.

    Args:
        captured: the model.
        reads: ops whose inputs are wanted too.
    """
    near: set[Node] = set()
    for node in captured.module.graph.nodes:
        if node.target in reads:
            near.update(node.all_input_nodes)
    for layer in layers(captured.module):
        near.update(layer.node.all_input_nodes, [layer.node])
        for user in layer.node.users:
            near.update(user.all_input_nodes, [user])
    return _Keeper(captured.module, near).kept(captured)


class _Keeper(Interpreter):
    """Runs a graph and keeps some of its values; the rest go as soon as they are used."""

    def __init__(self, module: GraphModule, near: set[Node]) -> None:
        super().__init__(module)
        self._near = near
        self._found: dict[Node, Tensor] = {}

    def run_node(self, node: Node) -> Any:
        value = super().run_node(node)
        if node in self._near and isinstance(value, Tensor):
            self._found[node] = value
        return value

    def kept(self, captured: Captured) -> dict[Node, Tensor]:
        # The graph's placeholders are the leaves of the arguments.
        leaves = tree_leaves((captured.args, captured.kwargs))
        with torch.no_grad():
            self.run(*leaves, enable_io_processing=False)
        return self._found


def function(
    module: GraphModule, nodes: Sequence[Node], outputs: Sequence[Node], values: dict[Node, Tensor]
) -> Callable[[], tuple[Tensor, ...]]:
    """Return a function that computes `outputs` by `nodes` from the values of their inputs.

    Raises:
        KeyError: if an input had no tensor on the example.
    """
    graph, copies, given = Graph(), {}, []
    for node in nodes:
        for source in node.all_input_nodes:
            if source not in copies:
                fixed = tensor_of(module, source)
                given.append(values[source] if fixed is None else fixed)
                copies[source] = graph.placeholder(source.name)
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in outputs))
    # Placeholders must stand first.
    for node in reversed([n for n in graph.nodes if n.op == "placeholder"]):
        next(iter(graph.nodes)).prepend(node)
    local = GraphModule(torch.nn.Module(), graph)

    def run() -> tuple[Tensor, ...]:
        made: tuple[Tensor, ...] = local(*given)
        return made

    return run
