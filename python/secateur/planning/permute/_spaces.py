"""Which parameters must be permuted together so that a model computes the same. No search here.

Everything that holds the same channels is one space: the rows of what writes them, the columns of
what reads them, and all between. It is found by following wires from a layer's input in both
directions; it can be permuted if that reaches neither an input nor an output of the model, nor an
op that mixes channels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from secateur.planning.permute._wires import VIEWS, Place, op_name, shape, through_view, wires


class Stuck(Exception):
    """A space that cannot be permuted; its text says why."""


class Split(Exception):
    """Channels lie in several dimensions of a view, of which the last has `channels`."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.channels = channels


@dataclass(frozen=True)
class Held:
    """A parameter or buffer, and where it holds the channels of a space."""

    name: str
    tensor: Tensor
    place: Place

    @property
    def reads(self) -> bool:
        """Whether it is a weight of which the channels are inputs."""
        return self.tensor.dim() > 1 and self.place.dim == 1


@dataclass
class Space:
    """Channels that are permuted together.

    Attributes:
        channels: how many. An outer dimension of a `Place` (attention heads) and an inner one
            (pixels that were flattened) repeat the same permutation.
        held: what to permute.
    """

    channels: int
    held: list[Held] = field(default_factory=list)

    def permute(self, order: Tensor) -> None:
        """Permute the parameters in place: channel i is then what channel order[i] was."""
        with torch.no_grad():
            for held in self.held:
                tensor, place = held.tensor, held.place
                at = order.to(tensor.device)
                shaped = tensor.unflatten(place.dim, (place.outer, self.channels, place.inner))
                tensor.copy_(
                    shaped.index_select(place.dim + 1, at).flatten(place.dim, place.dim + 2)
                )


class Graph:
    """A captured model, for asking what may be permuted.

    Args:
        module: the graph; its attributes have the names that `model` gives them.
        model: where parameters and buffers are.
    """

    def __init__(self, module: GraphModule, model: nn.Module) -> None:
        self._tensors: dict[Node, tuple[str, Tensor]] = {}
        self._readers: dict[int, set[Node]] = {}  # of a tensor, under all of its names
        known: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
        known.update(model.named_buffers(remove_duplicate=False))
        for node in module.graph.nodes:
            if node.op == "get_attr" and str(node.target) in known:
                tensor = known[str(node.target)]
                self._tensors[node] = (str(node.target), tensor)
                self._readers.setdefault(id(tensor), set()).update(node.users)

    def inputs(self, weight: Tensor) -> list[tuple[Node, int]]:
        """Return what the layers of this weight read: nodes, and the dimension of the channels."""
        found = []
        for node in self._readers.get(id(weight), ()):
            x = node.args[0] if node.args else None
            whole = len(node.args) > 1 and self._is(node.args[1], weight)
            if op_name(node) in ("linear", "conv1d", "conv2d", "conv3d") and whole:
                assert isinstance(x, Node)
                rank = len(shape(x) or ())
                found.append((x, rank - 1 if op_name(node) == "linear" else 1))
        return found

    def alone(self, weight: Tensor) -> bool:
        """Whether one call reads this weight, and no other."""
        return len(self._readers.get(id(weight), ())) == 1

    def space(self, weight: Tensor) -> Space:
        """Return the space of the channels that the layers of this weight read.

        Raises:
            Stuck: if it cannot be permuted.
        """
        inputs = self.inputs(weight)
        if not inputs:
            raise Stuck("no linear layer or convolution of the graph reads it")
        if any(not self._reads_columns(user, weight) for user in self._readers[id(weight)]):
            raise Stuck("its groups of inputs are no channels: it is convolved in groups")
        node, dim = inputs[0]
        channels = (shape(node) or ())[dim]
        while True:
            outer = (shape(node) or ())[dim] // channels
            try:
                return self._follow(node, Place(dim, outer), channels)
            except Split as split:
                if split.channels >= channels or channels % split.channels:
                    raise Stuck("a view spreads its channels over several dimensions") from None
                channels = split.channels

    def _reads_columns(self, user: Node, weight: Tensor) -> bool:
        slots = [arg for arg in _flat(user) if self._is(arg, weight)]
        return any((slot, 1) in wire for slot in slots for wire in wires(user))

    def _is(self, node: object, tensor: Tensor) -> bool:
        return isinstance(node, Node) and node in self._tensors and self._tensors[node][1] is tensor

    def _follow(self, start: Node, place: Place, channels: int) -> Space:
        places: dict[Node, set[Place]] = {}
        waiting = deque([(start, place)])
        while waiting:
            node, at = waiting.popleft()
            if at in places.setdefault(node, set()):
                continue
            places[node].add(at)
            if len(places[node]) > 1 and node not in self._tensors:
                raise Stuck(f"{node.name} would be permuted in two ways at once")
            if node not in self._tensors:
                waiting.extend(self._along(node, node, at, channels))
                for user in node.users:
                    waiting.extend(self._along(user, node, at, channels))
        return self._checked(Space(channels), places)

    def _along(self, op: Node, node: Node, at: Place, channels: int) -> list[tuple[Node, Place]]:
        """Return what is permuted with `node` because `op` makes it or reads it."""
        name = op_name(op)
        if op.op == "placeholder":
            raise Stuck("its channels are an input of the model")
        if op.op == "output":
            raise Stuck("its channels are an output of the model")
        if op.op == "get_attr":
            raise Stuck(f"{op.target} is no parameter of the model")
        if shape(op) is None and name == "sym_size":
            return []
        if name in VIEWS:
            return self._view(op, node, at, channels)
        found = [wire for wire in wires(op) if (node, at.dim) in wire]
        if not found:
            raise Stuck(f"{op.name} ({name}) is not known to keep channels apart")
        return [(other, Place(dim, at.outer, at.inner)) for wire in found for other, dim in wire]

    def _view(self, op: Node, node: Node, at: Place, channels: int) -> list[tuple[Node, Place]]:
        x = op.args[0]
        assert isinstance(x, Node)
        other = x if op is node else op
        old, new = shape(node), shape(other)
        assert old is not None and new is not None
        there = through_view(at, channels, old, new)
        if there is None:
            raise Split(new[-1])
        return [(other, there)]

    def _checked(self, space: Space, places: Mapping[Node, set[Place]]) -> Space:
        """Fill in the parameters, once it is sure that nothing outside the space reads them."""
        found: dict[tuple[int, Place], Held] = {}
        for node, there in places.items():
            if node in self._tensors:
                name, tensor = self._tensors[node]
                for place in there:
                    found.setdefault((id(tensor), place), Held(name, tensor, place))
        space.held.extend(found.values())
        dims = [(id(held.tensor), held.place.dim) for held in space.held]
        for held in space.held:
            if dims.count((id(held.tensor), held.place.dim)) > 1:
                raise Stuck(f"{held.name} would be permuted in two ways at once")
            for user in self._readers[id(held.tensor)]:
                if not self._inside(user, held, places):
                    raise Stuck(f"{held.name} is read by {user.name} too, where it has to stay")
        if all(held.reads for held in space.held):
            raise Stuck("no layer before it writes its channels")
        return space

    def _inside(self, user: Node, held: Held, places: Mapping[Node, set[Place]]) -> bool:
        """Whether what `user` reads of a tensor is permuted together with the rest of the space."""
        slots = [arg for arg in _flat(user) if self._is(arg, held.tensor)]
        return any(
            any(
                node is not slot and any(p.dim == dim for p in places.get(node, ()))
                for node, dim in wire
            )
            for slot in slots
            for wire in wires(user)
            if (slot, held.place.dim) in wire
        )


def _flat(node: Node) -> list[object]:
    found: list[object] = []
    for arg in (*node.args, *node.kwargs.values()):
        found += arg if isinstance(arg, list | tuple) else [arg]
    return found
