"""SparseLinear in captured graphs: torch.compile without a break, export with a free batch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.formats import with_verdicts
from secateur.planning import machine
from tests.support.data import generator, integers, random_mask
from tests.support.judge import exact

inductor_imports_it = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
pytestmark = pytest.mark.unpoisoned  # filling memory is an op that would be traced

BLOCKS = 12  # more than torch.compile's limit of recompilations


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def pruned(seed: int = 0, out: int = 32, in_: int = 64) -> nn.Linear:
    gen = generator(seed)
    layer = nn.Linear(in_, out)
    density = 0.1 + 0.01 * seed
    layer.weight = nn.Parameter(integers((out, in_), gen) * random_mask(out, in_, density, gen))
    layer.bias = nn.Parameter(integers((out,), gen))
    return layer


@inductor_imports_it
def test_compiled_without_gradient() -> None:
    layer = pruned()
    compiled = torch.compile(sc.SparseLinear.from_dense(layer).eval(), fullgraph=True)
    with torch.no_grad():
        for rows in (1, 4, 7):
            x = integers((rows, 64), generator(rows))
            exact(compiled(x), layer(x))


@inductor_imports_it
def test_compiled_layers_train() -> None:
    layer = pruned()
    sparse = sc.SparseLinear.from_dense(layer).train()
    compiled = torch.compile(sparse, fullgraph=True)
    x = integers((4, 64), generator(1))
    for module in (layer, compiled):
        y = module(x.requires_grad_())
        y.backward(torch.ones_like(y))
    exact(x.grad, 2 * torch.autograd.grad(layer(x).sum(), x)[0])
    wanted = layer.weight.grad * sparse.mask
    with torch.no_grad():
        sparse.values.copy_(sparse.values.grad)
    exact(sparse.weight, wanted)


def test_many_blocks_compiled_one_by_one_share_their_graph() -> None:
    """Equal shapes share sizes, so that the blocks of a model do not each compile anew."""

    class Block(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            self.inner = sc.SparseLinear.from_dense(pruned(seed, 64, 64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x).remainder(5)

    compiled = 0

    def count(graph: torch.fx.GraphModule, inputs: object) -> object:
        nonlocal compiled
        compiled += 1
        return graph

    blocks = nn.ModuleList(Block(seed) for seed in range(BLOCKS)).eval()
    x = integers((4, 64), generator(1))
    with torch.no_grad():
        wanted = x
        for block in blocks:
            wanted = block(wanted)
        for block in blocks:
            block.compile(backend=count, fullgraph=True)
        got = x
        for block in blocks:
            got = block(got)
    exact(got, wanted)
    lengths = {b.inner.values.numel() for b in blocks} | {b.inner.index.numel() for b in blocks}
    assert compiled <= len(lengths) <= BLOCKS


@pytest.mark.parametrize("trains", [False, True])
def test_exported_with_a_free_batch(trains: bool) -> None:
    layer = pruned()
    model = nn.Sequential(sc.SparseLinear.from_dense(layer), nn.ReLU()).eval()
    model.requires_grad_(trains)
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(model, (torch.ones(4, 64),), dynamic_shapes={"input": {0: batch}})
    for rows in (1, 2, 9, 300):
        x = integers((rows, 64), generator(rows))
        exact(program.module()(x).detach(), layer(x).relu().detach())


def test_an_exported_graph_reads_verdicts_at_run_time() -> None:
    layer = sc.SparseLinear.from_dense(pruned()).eval().requires_grad_(False)
    layer.index = with_verdicts(layer.index, {1: "sparse", 256: "dense"}, machine.stamp())
    layer.keep_dense()
    assert layer.dense is not None
    layer.dense.zero_()
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(layer, (torch.ones(4, 64),), dynamic_shapes={"x": {0: batch}})
    one, many = integers((1, 64), generator(1)), integers((256, 64), generator(1))
    exact(program.module()(one), pruned()(one).detach())
    exact(program.module()(many), layer.bias.expand(256, -1).clone())
