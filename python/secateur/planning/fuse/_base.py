"""The contract of a rewrite. What is done with its matches (checks, timing) is in _work.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.fx import GraphModule, Node

from secateur._registry import Registry

Values = Mapping[Node, Tensor]


@dataclass(frozen=True)
class Match:
    """Nodes that can be replaced.

    Attributes:
        what: names of the layers, for the report.
        old: the nodes, in the order of the graph. They are the only users of one another's
            values but for `outputs`.
        outputs: those of them that others use.
        build: adds the replacement and returns a node for each output; called with the graph's
            insertion point set.
        first: the replacement goes before the first of `old` instead of before the last.
        spoils: a node whose value the replacement writes its result to. `build` returns it then,
            and what it held is no more.
    """

    what: str
    old: Sequence[Node]
    outputs: Sequence[Node]
    build: Callable[[], Sequence[Node]]
    first: bool = False
    spoils: Node | None = None


@dataclass(frozen=True)
class Miss:
    """Nodes that look like a match and are none.

    Attributes:
        what: names of the layers.
        reason: why not.
    """

    what: str
    reason: str


class Rewrite(Protocol):
    """One way to share work.

    Attributes:
        name: as it is registered, for the report.
        order: rewrites are done in ascending order; later ones see what earlier ones left.
        reads: ops whose inputs it needs on the example though no sparse layer is near; may be
            left out.
    """

    name: str
    order: int

    def find(self, module: GraphModule, values: Values) -> Iterator[Match | Miss]:
        """Yield what is found, walking the live graph: a match may be applied before the next.

        Args:
            module: the captured model.
            values: tensors of the example run, for every node near a sparse layer.
        """
        ...


REWRITES: Registry[Rewrite] = Registry("rewrite", "secateur.planning.fuse")
