"""The ops seen by torch's compilers: opcheck, torch.compile, torch.export. No speed here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur import ops
from secateur.formats import FORMATS, Packed
from tests.support import data, judge, truth

NAMES = FORMATS.names()
OUT, IN = 16, 24


def case(name: str, dtype: torch.dtype = torch.float32) -> tuple[Packed, Tensor, Tensor]:
    gen = data.generator()
    weight, mask = data.integers((OUT, IN), gen, dtype), data.mask_for(name, OUT, IN, gen)
    return FORMATS.get(name).pack(weight, mask), weight, mask


def raw(name: str, suffix: str = "") -> Any:
    return getattr(torch.ops.secateur, f"{name}_linear{suffix}").default


class Layer(nn.Module):
    """The least module that holds a packed weight."""

    def __init__(self, name: str, packed: Packed, act: str = "none") -> None:
        super().__init__()
        self.linear: Callable[..., Tensor] = getattr(ops, f"{name}_linear")
        self.values = nn.Parameter(packed.values)
        self.bias = nn.Parameter(torch.ones(packed.out_features))
        self.register_buffer("index", packed.index)
        self.register_buffer("transposed", FORMATS.get(name).transpose(packed.index))
        self.out_features, self.act = packed.out_features, act

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(
            *(x, self.values, self.index, self.bias),
            transposed=self.transposed,
            out_features=self.out_features,
            act=self.act,
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("act", ["none", "gelu"])
@pytest.mark.parametrize("name", NAMES)
def test_opcheck_forward(name: str, act: str, dtype: torch.dtype) -> None:
    packed, _, _ = case(name, dtype)
    gen = data.generator(1)
    x, values = data.reals((3, 2, IN), gen, dtype), packed.values
    bias, residual = data.reals((OUT,), gen, dtype), data.reals((3, 2, OUT), gen, dtype)
    options = {"out_features": OUT, "act": act}
    transposed = FORMATS.get(name).transpose(packed.index)
    rest = (bias, residual, None, None, transposed)
    for suffix in ("_infer", "_reference"):
        torch.library.opcheck(raw(name, suffix), (x, values, packed.index, *rest), options)
        torch.library.opcheck(raw(name, suffix), (x, values, packed.index), options)
    leaves = [t.clone().requires_grad_() for t in (x, values, bias, residual)]
    learning = (*leaves[:2], packed.index, *leaves[2:], None, None)
    torch.library.opcheck(raw(name), (*learning, transposed), options)
    torch.library.opcheck(raw(name), (*learning, None), options)


@pytest.mark.parametrize("name", NAMES)
def test_opcheck_gradients(name: str) -> None:
    packed, _, _ = case(name)
    grad, x = data.reals((3, OUT), data.generator(1)), data.reals((3, IN), data.generator(2))
    transposed = FORMATS.get(name).transpose(packed.index)
    torch.library.opcheck(raw(name, "_dw"), (grad, x, packed.index, len(packed.values)))
    for given in (None, transposed):
        arguments = (grad, packed.values, packed.index, given)
        torch.library.opcheck(raw(name, "_dx"), arguments, {"in_features": IN})


@pytest.mark.parametrize("act", ["none", "relu", "gelu"])
@pytest.mark.parametrize("name", NAMES)
def test_compile_forward_and_backward_with_a_dynamic_batch(name: str, act: str) -> None:
    torch.compiler.reset()  # every layer here has one forward, whose graphs are counted
    packed, _, _ = case(name)
    layer = Layer(name, packed, act)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for rows in (2, 3, 17, 64):
        x = data.reals((rows, IN), data.generator(rows))
        answers = []
        for run in (layer, compiled):
            x_ = x.clone().requires_grad_()
            layer.zero_grad()
            y = run(x_)
            y.square().sum().backward()
            answers.append([y.detach(), x_.grad, layer.values.grad, layer.bias.grad])
        for eager, traced in zip(*answers, strict=True):
            judge.exact(traced, eager)


@pytest.mark.parametrize("name", NAMES)
def test_compile_does_not_recompile_for_the_batch(name: str) -> None:
    packed, weight, mask = case(name)
    layer = Layer(name, packed).requires_grad_(False)
    graphs = []

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=count)
    with torch.no_grad():
        for rows in (2, 3, 16, 17, 300):
            x = data.integers((rows, IN), data.generator(rows))
            judge.exact_truth(compiled(x), truth.linear(x, weight, mask, torch.ones(OUT)))
    assert len(graphs) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inductor imports it
@pytest.mark.parametrize("name", NAMES)
def test_inductor(name: str) -> None:
    torch.compiler.reset()  # every layer here has one forward, whose graphs are counted
    packed, weight, mask = case(name)
    layer = Layer(name, packed, "relu")
    compiled = torch.compile(layer, fullgraph=True, dynamic=True)
    for rows in (3, 16):
        x = data.integers((rows, IN), data.generator(rows)).requires_grad_()
        y = compiled(x)
        judge.exact_truth(
            y.detach(), truth.linear(x.detach(), weight, mask, torch.ones(OUT), act="relu")
        )
        layer.zero_grad()
        y.sum().backward()
        passed = (y.detach() > 0).float()
        judge.exact_truth(x.grad, truth.grad_x(passed, weight, mask))


@pytest.mark.parametrize("name", NAMES)
def test_export_with_a_dynamic_batch(name: str) -> None:
    packed, weight, mask = case(name)
    layer = Layer(name, packed).requires_grad_(False)
    batch = torch.export.Dim("batch")
    program = torch.export.export(layer, (torch.ones(4, IN),), dynamic_shapes=({0: batch},))
    run = program.module()
    for rows in (2, 5, 300):
        x = data.integers((rows, IN), data.generator(rows))
        judge.exact_truth(run(x), truth.linear(x, weight, mask, torch.ones(OUT)))
