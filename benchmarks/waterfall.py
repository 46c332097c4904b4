"""Where the time of a network goes: its graph run op by op, milliseconds by kind of op."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

KINDS = (
    "first conv", "3x3", "1x1", "depthwise", "other conv", "pooling", "norm",
    "activation, sum", "fc", "other",
)  # fmt: skip
"""What is counted. An activation or a sum that is part of a sparse call is its convolution's."""

_POOLING = ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "mean")
_ELEMENTWISE = ("relu", "relu_", "relu6", "relu6_", "hardtanh", "hardtanh_", "add", "add_")
ROUNDS = 5


def waterfall(model: nn.Module, x: Tensor, rounds: int = ROUNDS) -> dict[str, float]:
    """Return the milliseconds of each of `KINDS` that occurs; every op's is its median.

    Args:
        model: a network, or a graph of ATen ops made of one.
        x: [N, C, H, W].
        rounds: runs, after one that is not timed.
    """
    with torch.inference_mode():
        clock = _Clock(model if isinstance(model, GraphModule) else graph_of(model, x))
        for _ in range(rounds + 1):
            clock.run(x)
    found = dict.fromkeys(KINDS, 0.0)
    for node, seconds in clock.seconds.items():
        found[clock.kinds[node]] += median(seconds[1:]) * 1e3
    return {kind: ms for kind, ms in found.items() if ms}


def graph_of(model: nn.Module, x: Tensor) -> GraphModule:
    """Return a network as a graph of ATen ops; nothing of it is changed."""
    made = torch.export.export(model, (x,), strict=False).module()
    assert isinstance(made, GraphModule)
    return made


def rows(waterfalls: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Return a table, heading first: a line for each network, a column for each kind and the sum.

    Args:
        waterfalls: milliseconds by kind, by the network's label.
    """
    kinds = [kind for kind in KINDS if any(kind in found for found in waterfalls.values())]
    table = [["ms by kind of op", *kinds, "sum"]]
    for label, found in waterfalls.items():
        cells = [f"{found[kind]:.4g}" if kind in found else "-" for kind in kinds]
        table.append([label, *cells, f"{sum(found.values()):.4g}"])
    return table


def kind_of(target: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Return the kind of one call of an op; the first convolution is of its own kernel's."""
    packet = getattr(target, "overloadpacket", target)
    name = str(packet).rpartition(".")[2]
    if "conv2d" in name and not name.startswith(("conv", "conv_transpose")):
        return _conv_kind(tuple(kwargs["kernel_size"]))
    if name == "conv2d":
        weight = args[1]
        if weight.shape[1] == 1 and len(args) > 6 and args[6] > 1:
            return "depthwise"
        return _conv_kind(tuple(weight.shape[2:]))
    if "conv" in name:
        return "other conv"
    named = {"pooling": _POOLING, "norm": ("batch_norm",), "activation, sum": _ELEMENTWISE}
    named["fc"] = ("linear", "addmm", "matmul")
    found = [kind for kind, names in named.items() if name in names]
    if found:
        return found[0]
    return "fc" if "_linear" in name else "other"


def _conv_kind(kernel: tuple[int, ...]) -> str:
    return {(3, 3): "3x3", (1, 1): "1x1"}.get(kernel, "other conv")


class _Clock(Interpreter):
    """Runs a graph and times each of its calls."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph)
        self.seconds: dict[Node, list[float]] = {}
        self.kinds: dict[Node, str] = {}

    def run_node(self, n: Node) -> Any:
        if n.op not in ("call_function", "call_module", "call_method"):
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if n not in self.kinds:
            kind = kind_of(n.target, args, kwargs)
            convolves = kind in KINDS[1:5]
            first = convolves and not any(k == "first conv" for k in self.kinds.values())
            self.kinds[n] = "first conv" if first else kind
        start = time.perf_counter()
        made = getattr(self, n.op)(n.target, args, kwargs)
        self.seconds.setdefault(n, []).append(time.perf_counter() - start)
        return made
