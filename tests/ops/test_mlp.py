"""The ops of two layers in one: what they promise to torch, and what they refuse. No kernels."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur import ops
from secateur.formats import FORMATS, Header, Packed
from tests.support import data, judge, truth

OPS = {"csr": ops.csr_mlp, "nm": ops.nm_mlp}
NAMES = sorted(OPS)
IN, HIDDEN, OUT = 12, 20, 8


def packed(name: str, out: int, in_: int, dtype: torch.dtype = torch.float32) -> Packed:
    gen = data.generator(out)
    draw = data.reals if dtype == torch.float64 else data.integers
    weight = draw((out, in_), gen, dtype)
    return FORMATS.get(name).pack(weight, data.nm_mask(out, in_, 2, 4, gen))


def case(
    name: str, dtype: torch.dtype = torch.float32, leading: tuple[int, ...] = (3, 6)
) -> dict[str, Any]:
    """Tensors of a call, in the order of the schema."""
    gen = data.generator(1)
    draw = data.reals if dtype == torch.float64 else data.integers
    first, second = packed(name, HIDDEN, IN, dtype), packed(name, OUT, HIDDEN, dtype)
    return {
        "x": draw((*leading, IN), gen, dtype),
        "values1": first.values,
        "index1": first.index,
        "values2": second.values,
        "index2": second.index,
        "bias1": draw((HIDDEN,), gen, dtype),
        "bias2": draw((OUT,), gen, dtype),
        "residual": draw((*leading, OUT), gen, dtype),
    }


def wanted(name: str, tensors: dict[str, Any], act: str, act_out: str = "none") -> Tensor:
    """The dense truth, in float64."""
    fmt = FORMATS.get(name)
    y = tensors["x"]
    for at, residual, a in (("1", None, act), ("2", tensors["residual"], act_out)):
        weight = fmt.unpack(tensors["values" + at], tensors["index" + at])
        kept = torch.zeros_like(weight, dtype=torch.bool)
        kept[fmt.positions(tensors["index" + at])] = True
        y = truth.linear(y, weight, kept, tensors["bias" + at], residual, a).y
    return y


def raw(name: str, suffix: str = "") -> Any:
    return getattr(torch.ops.secateur, f"{name}_mlp{suffix}").default


SIZES = {"hidden_features": HIDDEN, "out_features": OUT}


@pytest.mark.parametrize("leading", [(), (0,), (1,), (5,), (2, 0, 3), (40,), (3, 2, 9)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_exact_on_whole_numbers(name: str, leading: tuple[int, ...]) -> None:
    tensors = case(name, leading=leading)
    for forward in (OPS[name], raw(name), raw(name, "_infer"), raw(name, "_reference")):
        y = forward(*tensors.values(), **SIZES, act="relu", act_out="relu")
        judge.exact(y, wanted(name, tensors, "relu", "relu").float())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_other_dtypes_are_two_calls(name: str, dtype: torch.dtype) -> None:
    tensors = case(name, leading=(40,))
    tensors = {k: t.to(dtype) if t.is_floating_point() else t for k, t in tensors.items()}
    linear = getattr(ops, f"{name}_linear")
    x, values1, index1, values2, index2, bias1, bias2, residual = tensors.values()
    hidden = linear(x, values1, index1, bias1, out_features=HIDDEN, act="silu")
    y = OPS[name](*tensors.values(), **SIZES, act="silu")
    judge.exact(y, linear(hidden, values2, index2, bias2, residual, out_features=OUT))
    assert y.dtype == dtype


@pytest.mark.parametrize("name", NAMES)
def test_opcheck(name: str) -> None:
    tensors = case(name)
    bare = list(tensors.values())[:5]
    for suffix in ("_infer", "_reference"):
        torch.library.opcheck(raw(name, suffix), tuple(tensors.values()), {**SIZES, "act": "gelu"})
        torch.library.opcheck(raw(name, suffix), tuple(bare), SIZES)
    floating = {k for k, t in tensors.items() if t.is_floating_point()}
    leaves = [t.clone().requires_grad_(k in floating) for k, t in tensors.items()]
    for act_out in ("none", "silu"):
        torch.library.opcheck(raw(name), tuple(leaves), {**SIZES, "act_out": act_out})
    torch.library.opcheck(raw(name), tuple(leaves[:5]), SIZES)


@pytest.mark.parametrize("act_out", ["none", "gelu"])
@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name: str, act_out: str) -> None:
    tensors = case(name, torch.float64, (2,))
    x, values1, index1, values2, index2, bias1, bias2, residual = tensors.values()
    counts = Header.read(index1).nnz, Header.read(index2).nnz

    def call(x: Tensor, kept1: Tensor, kept2: Tensor, *rest: Tensor) -> Tensor:
        full1, full2 = (
            torch.cat([kept1, values1[counts[0] :]]),
            torch.cat([kept2, values2[counts[1] :]]),
        )
        return OPS[name](x, full1, index1, full2, index2, *rest, **SIZES, act_out=act_out)

    inputs = (x, values1[: counts[0]], values2[: counts[1]], bias1, bias2, residual)
    leaves = [t.clone().requires_grad_() for t in inputs]
    assert torch.autograd.gradcheck(call, leaves)
    assert torch.autograd.gradgradcheck(call, leaves, fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_asked_for_is_differentiated(name: str) -> None:
    tensors = case(name)
    for wanted_one in ("x", "values1", "values2", "bias1", "bias2", "residual"):
        leaves = {k: t.clone() for k, t in tensors.items()}
        leaves[wanted_one].requires_grad_()
        OPS[name](*leaves.values(), **SIZES).sum().backward()
        assert {k for k, t in leaves.items() if t.grad is not None} == {wanted_one}
    with torch.no_grad():
        assert OPS[name](*leaves.values(), **SIZES).grad_fn is None


class Mlp(nn.Module):
    """The least module around the op."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.op, tensors = OPS[name], case(name)
        for key in ("values1", "index1", "values2", "index2", "bias1", "bias2"):
            self.register_buffer(key, tensors[key])

    def forward(self, x: Tensor) -> Tensor:
        weights = (self.values1, self.index1, self.values2, self.index2)
        return self.op(x, *weights, self.bias1, self.bias2, **SIZES, act="relu")


@pytest.mark.unpoisoned
@pytest.mark.parametrize("name", NAMES)
def test_compiles_whole_with_a_free_batch(name: str) -> None:
    torch.compiler.reset()
    module = Mlp(name)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    exported = torch.export.export(
        module, (torch.ones(4, IN),), dynamic_shapes=({0: torch.export.Dim("rows")},)
    ).module()
    for rows in (2, 17, 64):
        x = data.integers((rows, IN), data.generator(rows))
        judge.exact(compiled(x), module(x))
        judge.exact(exported(x), module(x))


def test_under_autocast_x_takes_the_values_dtype() -> None:
    tensors = case("csr")
    plain = OPS["csr"](*tensors.values(), **SIZES, act="relu")
    with torch.autocast("cpu", torch.bfloat16):
        tensors["x"] = tensors["x"].bfloat16()
        judge.exact(OPS["csr"](*tensors.values(), **SIZES, act="relu"), plain)


BARE = {"bias1": None, "bias2": None, "residual": None}
ERRORS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "second layer: out_features is 9 but the weight has 8": (BARE, {"out_features": 9}),
    "first layer: out_features is 24 but the weight has 20": (BARE, {"hidden_features": 24}),
    "first layer: act must be one of": ({}, {"act": "tanh"}),
    "second layer: act must be one of": ({}, {"act_out": "tanh"}),
    "first layer: x has 13 features": ({"x": torch.ones(3, 13), "residual": None}, {}),
    "second layer: residual must be [3, 6, 8], got [8]": ({"residual": torch.ones(8)}, {}),
    "first layer: bias must be [20], got [8]": ({"bias1": torch.ones(8)}, {}),
    "second layer: bias must be [8], got [20]": ({"bias2": torch.ones(20)}, {}),
}


@pytest.mark.parametrize("message", ERRORS)
@pytest.mark.parametrize("name", NAMES)
def test_errors_name_layer_and_argument(name: str, message: str) -> None:
    tensors, options = ERRORS[message]
    with pytest.raises(ValueError, match=re.escape(message)):
        OPS[name](*(case(name) | tensors).values(), **(SIZES | options))


def test_weights_of_two_formats_are_refused() -> None:
    tensors = case("csr") | {"index2": case("nm")["index2"]}
    with pytest.raises(ValueError, match="second layer: index was packed by another format"):
        ops.csr_mlp(*tensors.values(), **SIZES)


def test_weights_that_do_not_follow_each_other_are_refused() -> None:
    tensors = case("csr") | {"residual": None}
    tensors["values2"], tensors["index2"] = tensors["values1"], tensors["index1"]
    with pytest.raises(ValueError, match=r"second layer: (x has|out_features is)"):
        ops.csr_mlp(*tensors.values(), **SIZES)
