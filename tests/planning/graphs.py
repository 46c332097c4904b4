"""Models of a few sparse layers on whole numbers, and how a fused one is compared with them."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

import secateur as sc
from tests.planning.models import WIDTH, layer, x_of
from tests.support import judge
from tests.support.data import generator, nm_mask

ROWS = 20  # more than the fused MLP asks for


def sparse(out: int = WIDTH, in_: int = WIDTH, pattern: str = "csr") -> sc.SparseLinear:
    mask = nm_mask(out, in_, 1, 4, generator(out)) if pattern == "nm" else None
    return sc.SparseLinear.from_dense(layer(out, in_, mask=mask), mask)


class Free(nn.Module):
    """Layers, and a function of them and x."""

    def __init__(self, forward: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(layers)
        self.function = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts)


def fused(model: nn.Module, *shape: int) -> torch.fx.GraphModule:
    """Fuse, and compare on the example and on another batch: whole numbers, so equal."""
    model = model.eval()
    shape = shape or (ROWS, WIDTH)
    graph = sc.fuse(model, x_of(*shape), gate="always")
    for batch in (shape[0], shape[0] + 3):
        x = x_of(batch, *shape[1:])
        with torch.no_grad():
            judge.exact(graph(x), model(x))
    return graph


def refused(model: nn.Module, rewrite: str, reason: str, *shape: int) -> None:
    graph = fused(model, *shape)
    assert rewrite not in graph.secateur_report.counts
    reasons = [e.reason for e in graph.secateur_report.entries if e.rewrite == rewrite]
    assert any(re.search(reason, found) for found in reasons), reasons


def targets(graph: torch.fx.GraphModule) -> list[str]:
    """Names of the ops of a graph, those of sizes left out."""
    names = [str(n.target) for n in graph.graph.nodes if n.op == "call_function"]
    return [name for name in names if "sym_size" not in name]


def mlp(pattern: str = "csr", second: str | None = None) -> Free:
    layers = sparse(96, WIDTH, pattern), sparse(WIDTH, 96, second or pattern)
    return Free(lambda x, a, b: x + b(a(x).relu()), *layers)
