"""What every linear op promises, with and without compiled kernels; driven by the registry."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from secateur.formats import FORMATS, Packed, permutation
from tests.support import data, judge, truth

ACTS = list(judge.ACTIVATIONS)
FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
LEADING = [(), (0,), (1,), (2, 0, 3), (7,), (3, 5), (2, 1, 3)]


@dataclass(frozen=True)
class Op:
    """One linear op: the public function and the raw ones behind it."""

    name: str

    @property
    def linear(self) -> Callable[..., Tensor]:
        module = importlib.import_module(f"secateur.ops.{self.name}_linear")
        return getattr(module, f"{self.name}_linear")

    def raw(self, suffix: str = "") -> Callable[..., Tensor]:
        return getattr(torch.ops.secateur, f"{self.name}_linear{suffix}").default

    def forwards(self) -> list[Callable[..., Tensor]]:
        return [self.linear, self.raw(), self.raw("_infer"), self.raw("_reference")]

    def pack(self, weight: Tensor, mask: Tensor) -> Packed:
        return FORMATS.get(self.name).pack(weight, mask)

    def transpose(self, packed: Packed) -> Tensor:
        return FORMATS.get(self.name).transpose(packed.index)

    def mask(self, out: int, in_: int, gen: torch.Generator) -> Tensor:
        return data.mask_for(self.name, out, in_, gen)

    def masks(self, out: int, in_: int) -> dict[str, Tensor]:
        found = data.masks(out, in_, data.generator())
        return {k: m for k, m in found.items() if FORMATS.get(self.name).fits(m) is None}


@pytest.fixture(params=FORMATS.names())
def op(request: pytest.FixtureRequest) -> Op:
    op = Op(request.param)
    assert op.linear
    return op


def integer_case(
    out: int, in_: int, leading: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weight, x, bias, residual, all whole numbers."""
    gen = data.generator()
    return (
        data.integers((out, in_), gen, dtype),
        data.integers((*leading, in_), gen, dtype),
        data.integers((out,), gen, dtype),
        data.integers((*leading, out), gen, dtype),
    )


@pytest.mark.parametrize("leading", LEADING, ids=str)
def test_exact_on_whole_numbers(op: Op, leading: tuple[int, ...]) -> None:
    for out, in_ in [(1, 4), (12, 120), (65, 240), (7, 1)]:
        weight, x, bias, residual = integer_case(out, in_, leading)
        for mask in op.masks(out, in_).values():
            p = op.pack(weight, mask)
            for forward in op.forwards():
                y = forward(x, p.values, p.index, bias, residual, out_features=out, act="relu")
                judge.exact_truth(y, truth.linear(x, weight, mask, bias, residual, "relu"))
                y = forward(x, p.values, p.index, out_features=out)
                judge.exact_truth(y, truth.linear(x, weight, mask))


@pytest.mark.parametrize("rows", data.vector_sizes())
def test_every_row_count_around_a_vector(op: Op, rows: int) -> None:
    weight, x, bias, _ = integer_case(19, 132, (rows,))
    mask = op.mask(19, 132, data.generator())
    p = op.pack(weight, mask)
    y = op.linear(x, p.values, p.index, bias, out_features=19)
    judge.exact_truth(y, truth.linear(x, weight, mask, bias))


@pytest.mark.parametrize("size", [s for s in data.block_sizes() if s > 100])
def test_every_size_around_a_block(op: Op, size: int) -> None:
    for out, in_ in [(size, 12), (9, 4 * (size // 4)), (9, 4 * (size // 4) + 4)]:
        weight, x, bias, _ = integer_case(out, in_, (3,))
        mask = op.mask(out, in_, data.generator())
        p = op.pack(weight, mask)
        for forward in op.forwards():
            y = forward(x, p.values, p.index, bias, out_features=out)
            judge.exact_truth(y, truth.linear(x, weight, mask, bias))


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_real_numbers_within_the_bound(op: Op, dtype: torch.dtype, act: str) -> None:
    gen = data.generator()
    weight, x = data.reals((40, 240), gen, dtype), data.reals((2, 9, 240), gen, dtype)
    bias, residual = data.reals((40,), gen, dtype), data.reals((2, 9, 40), gen, dtype)
    accumulator = torch.float64 if dtype == torch.float64 else torch.float32
    for mask in op.masks(40, 240).values():
        p = op.pack(weight, mask)
        for forward in op.forwards():
            y = forward(x, p.values, p.index, bias, residual, out_features=40, act=act)
            assert y.dtype == dtype
            wanted = truth.linear(x, weight, mask, bias, residual, act)
            judge.within_bound(y, wanted, accumulator)


@pytest.mark.parametrize("x_dtype", FLOATS, ids=str)
@pytest.mark.parametrize("value_dtype", FLOATS, ids=str)
def test_y_is_of_xs_dtype(op: Op, x_dtype: torch.dtype, value_dtype: torch.dtype) -> None:
    weight, x, _, _ = integer_case(8, 24, (5,))
    mask = op.mask(8, 24, data.generator())
    p = op.pack(weight.to(value_dtype), mask)
    y = op.linear(x.to(x_dtype), p.values, p.index, out_features=8)
    judge.exact(y, truth.linear(x, weight, mask).y.to(x_dtype))


def test_int8_values_are_multiplied_by_the_scale_of_their_output(op: Op) -> None:
    weight, x, bias, residual = integer_case(12, 40, (3,))
    scale = 2.0 ** torch.arange(12).remainder(3).float()
    mask = op.mask(12, 40, data.generator())
    p = op.pack(weight, mask)
    operands = (p.values.to(torch.int8), p.index, bias, residual, scale)
    for forward in op.forwards():
        y = forward(x, *operands, out_features=12, act="relu")
        scaled = weight * scale[:, None]
        judge.exact_truth(y, truth.linear(x, scaled, mask, bias, residual, "relu"))


def test_pruned_positions_never_meet_x(op: Op) -> None:
    mask = op.mask(16, 64, data.generator())
    mask[:, 8:12] = torch.tensor([True, False, False, True])
    weight, x, _, _ = integer_case(16, 64, (3,))
    x[0, 9], x[1, 10], x[2, 9] = float("inf"), float("-inf"), float("nan")
    p = op.pack(weight, mask)
    for forward in op.forwards():
        y = forward(x, p.values, p.index, out_features=16)
        judge.exact_truth(y, truth.linear(x, weight, mask))
        assert y.isfinite().all()


def test_nothing_beyond_the_operands_is_read(op: Op) -> None:
    for rows, in_ in [(1, 4), (1, 132), (5, 36), (17, 260)]:
        weight, x, bias, residual = integer_case(21, in_, (rows,))
        mask = op.mask(21, in_, data.generator())
        p = op.pack(weight, mask)
        operands = (data.nan_margins(t) for t in (bias, residual))
        y = op.linear(data.nan_margins(x), p.values, p.index, *operands, out_features=21)
        judge.exact_truth(y, truth.linear(x, weight, mask, bias, residual))


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
        lambda x: torch.cat([x, x], dim=-1)[..., : x.shape[-1]],
        lambda x: x.repeat_interleave(2, dim=-1)[..., ::2],
        lambda x: x.repeat_interleave(3, dim=0)[::3],
        lambda x: x[:1].expand(6, -1, -1),
    ],
    ids=["transposed", "sliced", "strided", "every third", "expanded"],
)
def test_x_need_not_be_contiguous(op: Op, view: Callable[[Tensor], Tensor]) -> None:
    weight, x, bias, _ = integer_case(24, 48, (6, 5))
    mask = op.mask(24, 48, data.generator())
    p = op.pack(weight, mask)
    seen = view(x)
    for forward in op.forwards():
        y = forward(seen, p.values, p.index, bias, out_features=24)
        judge.exact_truth(y, truth.linear(seen, weight, mask, bias))
        assert y.is_contiguous()


def test_bias_and_residual_need_not_be_contiguous(op: Op) -> None:
    weight, x, bias, residual = integer_case(24, 48, (5,))
    mask = op.mask(24, 48, data.generator())
    p = op.pack(weight, mask)
    strided = bias.repeat_interleave(2)[::2], residual.T.contiguous().T
    for forward in op.forwards():
        y = forward(x, p.values, p.index, *strided, out_features=24)
        judge.exact_truth(y, truth.linear(x, weight, mask, bias, residual))


def test_a_dense_verdict_runs_the_dense_copy(op: Op) -> None:
    from secateur.backends import cpu
    from secateur.formats import with_verdicts

    weight, x, bias, residual = integer_case(16, 24, (4,))
    mask = op.mask(16, 24, data.generator())
    p = op.pack(weight, mask)
    index = with_verdicts(p.index, {4: "dense", 64: "sparse"}, cpu.machine())
    other = weight * 2  # not the packed weight, so that one can see which of them ran
    arguments = (p.values, index, bias)
    for act in ("none", "relu"):
        options = {"out_features": 16, "act": act, "dense": other}
        for forward in (op.linear, op.raw(), op.raw("_infer")):
            every = torch.ones_like(mask)
            y = forward(x, *arguments, residual, **options)
            judge.exact_truth(y, truth.linear(x, other, every, bias, residual, act))
            many = x.repeat(16, 1)
            judge.exact_truth(
                forward(many, *arguments, **options),
                truth.linear(many, weight, mask, bias, None, act),
            )
        y = op.raw("_reference")(x, *arguments, residual, **options)
        judge.exact_truth(y, truth.linear(x, weight, mask, bias, residual, act))


def test_gradients_are_exact_on_whole_numbers(op: Op) -> None:
    for leading in LEADING:
        weight, x, bias, residual = integer_case(13, 120, leading)
        for mask in op.masks(13, 120).values():
            p = op.pack(weight, mask)
            for transposed in (None, op.transpose(p)):
                leaves = [t.clone().requires_grad_() for t in (x, p.values, bias, residual)]
                x_, values, bias_, residual_ = leaves
                y = op.linear(
                    *(x_, values, p.index, bias_, residual_),
                    transposed=transposed,
                    out_features=13,
                )
                grad = data.integers(y.shape, data.generator(5))
                y.backward(grad)
                occupied = FORMATS.get(op.name).occupied(p.index)
                rows, columns = FORMATS.get(op.name).positions(p.index)
                slots = torch.zeros_like(mask)
                slots[rows, columns] = True  # fillers too have a gradient of their own
                by_weight = truth.grad_weight(grad, x, slots).y.float()
                judge.exact_truth(x_.grad, truth.grad_x(grad, weight, mask))
                judge.exact(values.grad[occupied], by_weight[rows, columns])
                values.grad[occupied] = 0
                assert not values.grad.any(), "the padding must stay zero"
                judge.exact(bias_.grad, grad.reshape(-1, 13).sum(0))
                judge.exact(residual_.grad, grad)


@pytest.mark.parametrize("size", [511, 512, 513])
def test_gradients_across_row_blocks(op: Op, size: int) -> None:
    weight, x, _, _ = integer_case(size, 260, (3,))
    mask = op.mask(size, 260, data.generator())
    p = op.pack(weight, mask)
    grad = data.integers((3, size), data.generator(5))
    rows, columns = FORMATS.get(op.name).positions(p.index)
    dw = op.raw("_dw")(grad, x, p.index, len(p.values))
    occupied = FORMATS.get(op.name).occupied(p.index)
    judge.exact(dw[occupied], truth.grad_weight(grad, x, mask).y.float()[rows, columns])
    dx = op.raw("_dx")(grad, p.values, p.index, op.transpose(p), in_features=260)
    judge.exact_truth(dx, truth.grad_x(grad, weight, mask))


def test_infinite_x_reaches_kept_gradients_only(op: Op) -> None:
    mask = torch.tensor([[True, False, False, True]]).repeat(8, 3)
    weight, x, _, _ = integer_case(8, 12, (2,))
    x[0, 1] = float("inf")
    p = op.pack(weight, mask)
    dw = op.raw("_dw")(torch.ones(2, 8), x, p.index, len(p.values))
    assert dw.isfinite().all()


@pytest.mark.parametrize("act", ACTS)
def test_gradcheck(op: Op, act: str) -> None:
    gen = data.generator()
    weight, x = data.reals((5, 12), gen, torch.float64), data.reals((2, 3, 12), gen, torch.float64)
    bias, residual = data.reals((5,), gen).double(), data.reals((2, 3, 5), gen).double()
    p = op.pack(weight, op.mask(5, 12, gen))
    occupied = FORMATS.get(op.name).occupied(p.index)
    padding = p.values.clone()
    padding[occupied] = 0
    places = torch.arange(len(padding))[occupied]

    def call(x: Tensor, kept: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
        values = padding.index_put((places,), kept)
        return op.linear(x, values, p.index, bias, residual, out_features=5, act=act)

    leaves = [t.clone().requires_grad_() for t in (x, p.values[places], bias, residual)]
    assert torch.autograd.gradcheck(call, leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gradients_within_the_bound(op: Op, dtype: torch.dtype) -> None:
    gen = data.generator()
    weight, x = data.reals((30, 120), gen, dtype), data.reals((11, 120), gen, dtype)
    grad = data.reals((11, 30), gen, dtype)
    mask = op.mask(30, 120, gen)
    p = op.pack(weight, mask)
    x_, values = x.clone().requires_grad_(), p.values.clone().requires_grad_()
    op.linear(x_, values, p.index, out_features=30).backward(grad)
    judge.within_bound(x_.grad, truth.grad_x(grad, weight, mask))
    dense = FORMATS.get(op.name).unpack(values.grad, p.index)
    judge.within_bound(dense, truth.grad_weight(grad, x, mask))


def test_only_what_is_asked_for_is_differentiated(op: Op) -> None:
    weight, x, bias, residual = integer_case(8, 24, (5,))
    p = op.pack(weight, op.mask(8, 24, data.generator()))
    everything = {"x": x, "values": p.values, "bias": bias, "residual": residual}
    for name in everything:
        leaves = {k: t.clone().requires_grad_(k == name) for k, t in everything.items()}
        op.linear(index=p.index, out_features=8, act="gelu", **leaves).sum().backward()
        assert {k for k, t in leaves.items() if t.grad is not None} == {name}


def test_without_grad_the_cheap_op_runs(op: Op) -> None:
    weight, x, _, _ = integer_case(8, 24, (5,))
    p = op.pack(weight, op.mask(8, 24, data.generator()))
    values = p.values.clone().requires_grad_()
    assert op.linear(x, values, p.index, out_features=8).grad_fn is not None
    with torch.no_grad():
        assert op.linear(x, values, p.index, out_features=8).grad_fn is None
    assert op.linear(x, p.values, p.index, out_features=8).grad_fn is None


@pytest.mark.parametrize("act", ["none", "gelu"])
def test_second_derivatives(op: Op, act: str) -> None:
    gen = data.generator()
    weight, x = data.reals((3, 8), gen, torch.float64), data.reals((2, 8), gen, torch.float64)
    bias, residual = data.reals((3,), gen).double(), data.reals((2, 3), gen).double()
    p = op.pack(weight, op.mask(3, 8, gen))
    occupied = FORMATS.get(op.name).occupied(p.index)
    padding = p.values.clone()
    padding[occupied] = 0
    places = torch.arange(len(padding))[occupied]

    def call(x: Tensor, kept: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
        values = padding.index_put((places,), kept)
        return op.linear(x, values, p.index, bias, residual, out_features=3, act=act)

    leaves = [t.clone().requires_grad_() for t in (x, p.values[places], bias, residual)]
    assert torch.autograd.gradgradcheck(call, leaves)


def test_under_autocast_x_takes_the_values_dtype(op: Op) -> None:
    weight, x, bias, _ = integer_case(8, 24, (5,))
    mask = op.mask(8, 24, data.generator())
    p = op.pack(weight, mask)
    with torch.autocast("cpu", torch.bfloat16):
        y = op.linear(x.bfloat16(), p.values, p.index, bias, out_features=8)
    judge.exact_truth(y, truth.linear(x, weight, mask, bias))
    assert y.dtype == torch.float32


def test_the_permutation_is_what_dx_reads(op: Op) -> None:
    weight, _, _, _ = integer_case(8, 24, ())
    p = op.pack(weight, op.mask(8, 24, data.generator()))
    transposed = op.transpose(p)
    grad = data.integers((3, 8), data.generator(4))
    csr_infer = torch.ops.secateur.csr_linear_infer
    by_hand = csr_infer(grad, p.values[permutation(transposed)], transposed, out_features=24)
    judge.exact(op.raw("_dx")(grad, p.values, p.index, transposed, in_features=24), by_hand)
