"""Which dimensions of an op's operands and result hold the same channels. Nothing is searched here.

A wire is a list of (operand, dimension): permute one of them, and the op gives the same numbers in
the permuted places if all of them are permuted alike. A dimension on no wire cannot be permuted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor
from torch.fx import Node

Wire = list[tuple[Node, int]]
Rule = Callable[[Node], Iterator[Wire]]

_ELEMENTWISE = """
abs add add_ alias clamp clamp_min clone contiguous cos detach div div_ dropout elu erf exp gelu
hardsigmoid hardswish hardswish_ hardtanh hardtanh_ leaky_relu leaky_relu_ log log1p maximum
minimum mish mul mul_ neg pow reciprocal relu relu_ relu6 rsqrt rsub sigmoid silu silu_ sin softplus
sqrt square sub sub_ tanh to type_as where
"""
_ANY_ORDER = "log_softmax softmax layer_norm rms_norm"  # see a whole dimension, in any order
_POOLS = "adaptive_avg_pool1d adaptive_avg_pool2d avg_pool1d avg_pool2d max_pool1d max_pool2d"
_RESIZES = "upsample_nearest2d upsample_bilinear2d"
ELEMENTWISE = frozenset(f"{_ELEMENTWISE} {_ANY_ORDER}".split())
POOLS = frozenset(f"{_POOLS} {_RESIZES}".split())
REDUCTIONS = frozenset(("mean", "sum", "amax", "amin", "var", "std"))
VIEWS = frozenset(("view", "reshape", "flatten", "unflatten", "_unsafe_view"))


class Place(NamedTuple):
    """Where a tensor holds channels: dimension `dim` is [outer, channels, inner], flattened."""

    dim: int
    outer: int = 1
    inner: int = 1


def op_name(node: Node) -> str:
    """Return the name of an ATen op, without namespace and overload."""
    parts = str(node.target).split(".")
    return parts[1] if parts[0] == "aten" and len(parts) > 1 else str(node.target)


def shape(node: Node) -> tuple[int, ...] | None:
    """Return a node's shape on the example; None if it is no tensor."""
    value = node.meta.get("val")
    return tuple(int(size) for size in value.shape) if isinstance(value, Tensor) else None


def wires(node: Node) -> list[Wire]:
    """Return the wires of an op; none for one that is not known."""
    name = op_name(node)
    if shape(node) is None:
        return []
    if name in ELEMENTWISE:
        return list(_elementwise(node))
    if name in POOLS:
        return [[(_x(node), d), (node, d)] for d in range(_rank(node) - (1 if "1d" in name else 2))]
    if name in REDUCTIONS:
        return list(_reduction(node))
    rule = RULES.get(name)
    return [] if rule is None else list(rule(node))


def through_view(
    place: Place, channels: int, old: tuple[int, ...], new: tuple[int, ...]
) -> Place | None:
    """Return where a tensor of shape `old` holds its channels once it is viewed as `new`.

    None if they are then spread over several dimensions.
    """
    below = place.inner * math.prod(old[place.dim + 1 :])  # elements from one channel to the next
    for dim in range(len(new)):
        after = math.prod(new[dim + 1 :])
        if below % after == 0 and new[dim] % (channels * (below // after)) == 0:
            inner = below // after
            return Place(dim, new[dim] // (channels * inner), inner)
    return None


def _x(node: Node) -> Node:
    x = node.args[0]
    assert isinstance(x, Node)
    return x


def _rank(node: Node) -> int:
    found = shape(node)
    assert found is not None
    return len(found)


def _size(node: Node, dim: int) -> int:
    found = shape(node)
    assert found is not None
    return found[dim]


def argument(node: Node, position: int, name: str, default: Any = None) -> Any:
    """Return an argument of a call by its position or name."""
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _tensors(*nodes: Any) -> list[Node]:
    return [node for node in nodes if isinstance(node, Node)]


def _elementwise(node: Node) -> Iterator[Wire]:
    """Counted from the last dimension, as in broadcasting; what has size 1 is on no wire."""
    operands = [n for n in node.all_input_nodes if shape(n) is not None]
    for dim in range(_rank(node)):
        wire = [(node, dim)]
        for operand in operands:
            own = dim - _rank(node) + _rank(operand)
            if own >= 0 and _size(operand, own) == _size(node, dim):
                wire.append((operand, own))
        yield wire


def _linear(node: Node) -> Iterator[Wire]:
    x, weight = node.args[:2]
    assert isinstance(x, Node) and isinstance(weight, Node)
    last = _rank(node) - 1
    bias = _tensors(argument(node, 2, "bias"))
    yield [(node, last), (weight, 0), *((b, 0) for b in bias)]
    yield [(x, last), (weight, 1)]
    yield from ([(x, dim), (node, dim)] for dim in range(last))


def _conv(node: Node) -> Iterator[Wire]:
    x, weight = node.args[:2]
    assert isinstance(x, Node) and isinstance(weight, Node)
    bias = [(b, 0) for b in _tensors(argument(node, 2, "bias"))]
    groups = argument(node, 6, "groups", 1)
    if _rank(x) != _rank(weight):
        return
    yield [(x, 0), (node, 0)]
    if groups == 1:
        yield [(node, 1), (weight, 0), *bias]
        yield [(x, 1), (weight, 1)]
    elif groups == _size(x, 1) == _size(node, 1):
        yield [(x, 1), (node, 1), (weight, 0), *bias]


def _batch_norm(node: Node) -> Iterator[Wire]:
    yield [(node, 1), (_x(node), 1), *((own, 0) for own in _tensors(*node.args[1:5]))]
    yield from ([(node, d), (_x(node), d)] for d in range(_rank(node)) if d != 1)


def _embedding(node: Node) -> Iterator[Wire]:
    weight, _ = node.args[:2]
    assert isinstance(weight, Node)
    yield [(node, _rank(node) - 1), (weight, 1)]


def _matmul(node: Node) -> Iterator[Wire]:
    a, b = node.args[:2]
    assert isinstance(a, Node) and isinstance(b, Node)
    if _rank(a) < 2 or _rank(b) < 2:
        return
    last = _rank(node) - 1
    yield [(node, last), (b, _rank(b) - 1)]
    yield [(node, last - 1), (a, _rank(a) - 2)]
    yield [(a, _rank(a) - 1), (b, _rank(b) - 2)]


def _attention(node: Node) -> Iterator[Wire]:
    q, k, v = node.args[:3]
    assert isinstance(q, Node) and isinstance(k, Node) and isinstance(v, Node)
    yield [(node, _rank(node) - 1), (v, _rank(v) - 1)]
    yield [(q, _rank(q) - 1), (k, _rank(k) - 1)]


def _permute(node: Node) -> Iterator[Wire]:
    x, rank = _x(node), _rank(node)
    name = op_name(node)
    order = list(range(rank))
    if name == "permute":
        given: Any = argument(node, 1, "dims")
        order = [int(d) % rank for d in given]
    else:
        pair: tuple[Any, Any] = (-2, -1) if name in ("t", "mT") else tuple(node.args[1:3])  # type: ignore[assignment]
        one, other = (int(d) % rank for d in pair)
        order[one], order[other] = order[other], order[one]
    yield from ([(node, i), (x, d)] for i, d in enumerate(order))


def _unsqueeze(node: Node) -> Iterator[Wire]:
    x, at = _x(node), int(argument(node, 1, "dim")) % _rank(node)
    yield from ([(x, d), (node, d + (d >= at))] for d in range(_rank(x)))


def _squeeze(node: Node) -> Iterator[Wire]:
    x, dims = _x(node), argument(node, 1, "dim")
    listed = range(_rank(x)) if dims is None else [dims] if isinstance(dims, int) else dims
    gone = {d % _rank(x) for d in listed if _size(x, d) == 1}
    kept = [d for d in range(_rank(x)) if d not in gone]
    yield from ([(x, d), (node, i)] for i, d in enumerate(kept))


def _expand(node: Node) -> Iterator[Wire]:
    x, more = _x(node), _rank(node) - _rank(_x(node))
    for dim in range(_rank(x)):
        if _size(x, dim) == _size(node, dim + more):
            yield [(x, dim), (node, dim + more)]


def _but(node: Node, touched: int) -> Iterator[Wire]:
    """The wires of an op that leaves all dimensions but one as they are."""
    operands = [n for n in node.all_input_nodes if shape(n) is not None]
    for dim in range(_rank(node)):
        if dim != touched % _rank(node):
            yield [(node, dim), *((operand, dim) for operand in operands)]


def _slice(node: Node) -> Iterator[Wire]:
    x = _x(node)
    if shape(x) == shape(node):
        yield from ([(node, d), (x, d)] for d in range(_rank(x)))
    else:
        yield from _but(node, int(argument(node, 1, "dim", 0)))


def _select(node: Node) -> Iterator[Wire]:
    x, at = _x(node), int(argument(node, 1, "dim")) % _rank(_x(node))
    yield from ([(x, d), (node, d - (d > at))] for d in range(_rank(x)) if d != at)


def _repeat_interleave(node: Node) -> Iterator[Wire]:
    at = argument(node, 2, "dim")
    if isinstance(at, int) and len(node.all_input_nodes) == 1:
        yield from _but(node, at)


def _reduction(node: Node) -> Iterator[Wire]:
    """What is summed away may come in any order."""
    x, dims = _x(node), argument(node, 1, "dim")
    listed = [dims] if isinstance(dims, int) else dims if isinstance(dims, list | tuple) else None
    gone = set(range(_rank(x))) if not listed else {int(d) % _rank(x) for d in listed}
    keep = _rank(node) == _rank(x)
    kept = [d for d in range(_rank(x)) if keep or d not in gone]
    for dim in range(_rank(x)):
        yield [(x, dim)] if dim in gone else [(x, dim), (node, kept.index(dim))]


RULES: dict[str, Rule] = {
    "linear": _linear,
    "conv1d": _conv,
    "conv2d": _conv,
    "conv3d": _conv,
    "batch_norm": _batch_norm,
    "embedding": _embedding,
    "matmul": _matmul,
    "scaled_dot_product_attention": _attention,
    "permute": _permute,
    "transpose": _permute,
    "t": _permute,
    "mT": _permute,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "expand": _expand,
    "slice": _slice,
    "select": _select,
    "repeat_interleave": _repeat_interleave,
    "cat": lambda node: _but(node, int(argument(node, 1, "dim", 0))),
}
