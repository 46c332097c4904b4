"""Training through SparseLinear: whole steps compiled, and second derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

import secateur as sc
from secateur import ops
from secateur.backends.activations import ACTIVATIONS
from secateur.formats import FORMATS
from tests.support import data, judge

ACTS = list(judge.ACTIVATIONS)
FORMAT_NAMES = FORMATS.names()


@pytest.fixture
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def sparse(format: str, out: int, in_: int, dtype: torch.dtype = torch.float32) -> sc.SparseLinear:
    """A layer on whole numbers whose mask every format can hold."""
    gen = data.generator(out)
    layer = nn.Linear(in_, out, dtype=dtype)
    layer.weight = nn.Parameter(data.integers((out, in_), gen, dtype))
    layer.bias = nn.Parameter(data.integers((out,), gen, dtype))
    mask = data.mask_for(format, out, in_, gen)
    return sc.SparseLinear.from_dense(layer, mask, format=format).train()


def steps(model: nn.Module, run: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Three steps of SGD; what `run` returns, x's gradients, and the weights at the end."""
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0**-10)
    found = []
    for step in range(3):
        x = data.integers((6, 64), data.generator(step)).requires_grad_()
        optimizer.zero_grad()
        y = run(x)
        y.backward(data.integers((6, 16), data.generator(step + 9)))
        optimizer.step()
        found += [y.detach(), x.grad]
    return found + [p.detach().clone() for p in model.parameters()]


@pytest.mark.unpoisoned  # filling memory is an op that would be traced
@pytest.mark.usefixtures("fresh")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inductor imports it
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_a_compiled_training_step_equals_eager(format: str, backend: str) -> None:
    answers = []
    for compiled in (False, True):
        model = nn.Sequential(sparse(format, 32, 64), nn.ReLU(), sparse(format, 16, 32))
        run = torch.compile(model, fullgraph=True, backend=backend) if compiled else model
        answers.append(steps(model, run))
    for eager, traced in zip(*answers, strict=True):
        judge.exact(traced, eager)


def in_use(layer: sc.SparseLinear) -> tuple[int, Callable[[Tensor], Tensor]]:
    """Return how many values are in use, and what puts so many into place.

    A tile for tensor cores has room for a thousand values beside the twelve of a small weight: a
    numerical derivative of each would take minutes.
    """
    format = FORMATS.get(layer.format)
    at = torch.arange(layer.values.numel())[format.occupied(layer.index)]

    def put(values: Tensor) -> Tensor:
        return values.new_zeros(layer.values.shape).index_put((at,), values)

    return len(at), put


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_second_derivatives_of_the_layer(format: str, act: str) -> None:
    layer = sparse(format, 3, 8, torch.float64)
    gen = data.generator(ACTS.index(act))
    count, put = in_use(layer)
    shapes = ((2, 8), (count,), (3,))
    leaves = [data.reals(shape, gen, torch.float64).requires_grad_() for shape in shapes]
    activation = ACTIVATIONS[act].forward

    def call(x: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        return activation(functional_call(layer, {"values": put(values), "bias": bias}, x))

    assert torch.autograd.gradcheck(call, leaves)
    assert torch.autograd.gradgradcheck(call, leaves)


@pytest.mark.parametrize("given", [False, True], ids=["made anew", "given"])
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_second_derivatives_with_activation_and_residual(
    format: str, act: str, given: bool
) -> None:
    layer = sparse(format, 3, 8, torch.float64)
    gen = data.generator(ACTS.index(act))
    count, put = in_use(layer)
    shapes = ((2, 8), (count,), (3,), (2, 3))
    leaves = [data.reals(shape, gen, torch.float64).requires_grad_() for shape in shapes]
    linear = getattr(ops, f"{format}_linear")

    def call(x: Tensor, values: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
        return linear(
            *(x, put(values), layer.index, bias, residual),
            transposed=layer.transposed if given else None,
            out_features=3,
            act=act,
        )

    assert torch.autograd.gradgradcheck(call, leaves)
