"""masked_linear: a dense weight under a mask, its two kinds of gradient, and what it allocates."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode

from secateur import ops
from tests.support import data, judge, truth

ACTS = list(judge.ACTIVATIONS)
FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
OUT, IN = 13, 24
RAW = torch.ops.secateur.masked_linear.default
RAW_DW = torch.ops.secateur.masked_linear_dw.default
unpoisoned = pytest.mark.unpoisoned  # filling memory is an op that would be seen


def case(*leading: int, out: int = OUT, in_: int = IN) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, weight, mask, bias on whole numbers."""
    gen = data.generator()
    return (
        data.integers((*leading, in_), gen),
        data.integers((out, in_), gen),
        data.random_mask(out, in_, 0.4, gen),
        data.integers((out,), gen),
    )


def reals(act: str) -> tuple[list[Tensor], Tensor]:
    """Leaves x, weight, bias in float64, and a mask."""
    gen = data.generator(ACTS.index(act))
    shapes = ((2, 3, 6), (4, 6), (4,))
    leaves = [data.reals(shape, gen, torch.float64).requires_grad_() for shape in shapes]
    return leaves, data.random_mask(4, 6, 0.5, gen)


@pytest.mark.parametrize("leading", [(), (0,), (1,), (7,), (2, 0), (2, 3)], ids=str)
@pytest.mark.parametrize("gradient", ["kept", "dense"])
def test_it_and_its_gradients_are_exact_on_whole_numbers(
    leading: tuple[int, ...], gradient: str
) -> None:
    x, weight, mask, bias = case(*leading)
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    y = ops.masked_linear(*leaves[:2], mask, leaves[2], gradient=gradient)
    judge.exact_truth(y.detach(), truth.linear(x, weight, mask, bias))
    grad = data.integers(y.shape, data.generator(5))
    y.backward(grad)
    seen = torch.ones_like(mask) if gradient == "dense" else mask
    judge.exact_truth(leaves[0].grad, truth.grad_x(grad, weight, mask))
    judge.exact_truth(leaves[1].grad, truth.grad_weight(grad, x, seen))
    judge.exact(leaves[2].grad, grad.reshape(-1, OUT).sum(0))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("act", ACTS)
def test_real_numbers_within_the_bound(act: str, dtype: torch.dtype) -> None:
    gen = data.generator()
    x, weight = data.reals((9, 240), gen, dtype), data.reals((40, 240), gen, dtype)
    bias, mask = data.reals((40,), gen, dtype), data.random_mask(40, 240, 0.3, gen)
    y = ops.masked_linear(x, weight, mask, bias)
    wanted = truth.linear(x, weight, mask, bias)
    judge.within_bound(y, wanted, torch.float64 if dtype == torch.float64 else torch.float32)
    # An activation is torch's own, of what was rounded to the type.
    judge.exact(ops.masked_linear(x, weight, mask, bias, act=act), truth.activation(act, y))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_what_a_removed_weight_is_does_not_matter(dtype: torch.dtype) -> None:
    x, weight, mask, _ = case(5)
    strange = torch.where(mask, weight, torch.tensor([float("nan"), float("inf"), -1.0]).repeat(8))
    strange = strange.to(dtype).requires_grad_()
    y = ops.masked_linear(x.to(dtype), strange, mask)
    judge.exact(y.detach(), truth.linear(x, weight, mask).y.to(dtype))
    y.backward(torch.full_like(y, float("inf")))
    assert not strange.grad[~mask].any(), "a removed weight has a gradient"


@pytest.mark.parametrize("shape", [(1, 1), (3, 2**18 + 1), (2**12, 130), (5, 0)], ids=str)
def test_a_weight_is_masked_in_parts_without_a_seam(shape: tuple[int, int]) -> None:
    keep = importlib.import_module("secateur.ops.masked_linear").keep
    gen = data.generator()
    weight, mask = data.integers(shape, gen), data.random_mask(*shape, 0.5, gen)
    wanted = torch.where(mask, weight, 0.0)
    judge.exact(keep(weight, mask, torch.empty_like(weight)), wanted)
    across = weight.T.contiguous().T
    judge.exact(keep(across, mask, torch.empty_like(weight)), wanted)
    judge.exact(keep(weight, mask, weight), wanted)


def test_operands_need_not_be_contiguous() -> None:
    x, weight, mask, bias = case(6, 5)
    wanted = truth.linear(x, weight, mask, bias)
    apart = [t.repeat_interleave(2, dim=-1)[..., ::2] for t in (x, weight, mask, bias)]
    judge.exact_truth(ops.masked_linear(*apart), wanted)
    across = (x.transpose(0, 1).contiguous().transpose(0, 1), weight.T.contiguous().T, mask, bias)
    y = ops.masked_linear(*across)
    judge.exact_truth(y, wanted)
    assert y.is_contiguous()


@pytest.mark.parametrize("act", ACTS)
def test_first_and_second_derivatives(act: str) -> None:
    leaves, mask = reals(act)

    def call(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return ops.masked_linear(x, weight, mask, bias, act=act)

    assert torch.autograd.gradcheck(call, leaves)
    assert torch.autograd.gradgradcheck(call, leaves)


def test_a_gradient_of_everything_goes_on_to_second_derivatives() -> None:
    """The weight's gradient is 2 y xᵀ; that of its sum, straight through the mask, 2 xᵀx 1."""
    x, weight, mask, _ = case(5)
    weight.requires_grad_()
    y = ops.masked_linear(x, weight, mask, gradient="dense")
    (first,) = torch.autograd.grad(y.square().sum(), weight, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), weight)
    judge.exact(second, (2 * (x.T @ x).sum(0)).expand(OUT, IN))


@pytest.mark.parametrize("gradient", ["kept", "dense"])
def test_opcheck(gradient: str) -> None:
    x, weight, mask, bias = case(2, 3)
    grad = data.integers((2, 3, OUT), data.generator(1))
    for learning in ((), (0,), (1,), (0, 1, 2)):
        leaves = [t.clone() for t in (x, weight, bias)]
        for at in learning:
            leaves[at].requires_grad_()
        arguments = (*leaves[:2], mask, leaves[2])
        torch.library.opcheck(RAW, arguments, {"gradient": gradient})
    torch.library.opcheck(RAW, (x, weight.requires_grad_(), mask))
    torch.library.opcheck(RAW_DW, (grad.requires_grad_(), x.requires_grad_(), mask))


@pytest.mark.parametrize("gradient", ["kept", "dense"])
@pytest.mark.parametrize("act", ["none", "relu"])
def test_compiled_step_equals_eager(act: str, gradient: str) -> None:
    _, weight, mask, bias = case()

    def loss(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return ops.masked_linear(x, weight, mask, bias, act=act, gradient=gradient).square().sum()

    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend="aot_eager")
    for rows in (2, 3, 17):
        x = data.integers((rows, IN), data.generator(rows))
        answers = []
        for run in (loss, compiled):
            leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
            run(*leaves).backward()
            answers.append([leaf.grad for leaf in leaves])
        for eager, traced in zip(*answers, strict=True):
            judge.exact(traced, eager)


@pytest.mark.parametrize("gradient", ["kept", "dense"])
def test_autocast_is_that_of_a_dense_layer(gradient: str) -> None:
    x, weight, mask, bias = case(5)
    answers = []
    for run in (
        lambda x, w, b: ops.masked_linear(x, w, mask, b, gradient=gradient),
        lambda x, w, b: F.linear(x, w * mask, b),
    ):
        leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
        with torch.autocast("cpu", torch.bfloat16):
            y = run(*leaves)
        assert y.dtype == torch.bfloat16
        y.float().sum().backward()
        answers.append([y.detach(), leaves[0].grad, leaves[1].grad * mask, leaves[2].grad])
    for ours, dense in zip(*answers, strict=True):
        judge.exact(ours, dense)


class Sizes(TorchDispatchMode):
    """Collects the storages of tensors as large as `weight` that ops give back."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.seen: dict[int, torch.UntypedStorage] = {}  # held, so that no address comes twice

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.numel() >= self.weight.numel():
                # Not the tensor: autograd copies a gradient to which somebody else holds on.
                storage = tensor.untyped_storage()
                self.seen[storage.data_ptr()] = storage
        self.seen.pop(self.weight.data_ptr(), None)
        return result


@unpoisoned
@pytest.mark.parametrize("gradient", ["kept", "dense"])
def test_a_step_makes_the_masked_weight_once(gradient: str) -> None:
    x, weight, mask, bias = (t.requires_grad_(t.is_floating_point()) for t in case(3))
    with Sizes(weight) as sizes:
        ops.masked_linear(x, weight, mask, bias, act="gelu", gradient=gradient).sum().backward()
    assert len(sizes.seen) == 2, "wanted the masked weight and the weight's gradient, no more"


def allocations(traced: profile) -> list[int]:
    """Bytes taken (and, below zero, given back) from torch's allocator, in order."""
    events = traced.profiler.kineto_results.events()
    return [event.nbytes() for event in events if event.name() == "[memory]"]


def most(changes: list[int]) -> int:
    live = peak = 0
    for change in changes:
        live += change
        peak = max(peak, live)
    return peak


@unpoisoned
def test_peak_memory_is_one_weight_beside_the_gradient() -> None:
    """Counted at the allocator, where what happens inside an op shows as well."""
    x, weight, mask, bias = (
        t.requires_grad_(t.is_floating_point()) for t in case(4, out=2048, in_=1024)
    )
    part = 2**18 * weight.element_size()  # masked at a time, see ops/masked_linear.py
    small = 2**18  # bytes of y, x and their gradients, with room
    with profile(profile_memory=True, acc_events=True) as forward:
        y = ops.masked_linear(x, weight, mask, bias)
    with profile(profile_memory=True, acc_events=True) as backward:
        y.sum().backward()
    assert weight.nbytes <= most(allocations(forward)) <= weight.nbytes + part + small
    assert weight.nbytes <= most(allocations(backward)) <= weight.nbytes + part + small
    assert sum(allocations(backward)) <= small, "the masked weight outlives the step"


@unpoisoned
def test_the_masked_weight_is_not_kept_where_x_wants_no_gradient() -> None:
    x, weight, mask, _ = case(4, out=2048, in_=1024)
    weight.requires_grad_()
    with profile(profile_memory=True, acc_events=True) as traced:
        y = ops.masked_linear(x, weight, mask)
    assert y.requires_grad
    assert sum(allocations(traced)) < weight.nbytes // 8


ERRORS = [
    (ValueError, "act must be one of none, relu", {"act": "tanh"}),
    (ValueError, "gradient must be 'kept' or 'dense', got 'some'", {"gradient": "some"}),
    (TypeError, "mask must be bool, got torch.float32", {"mask": torch.ones(OUT, IN)}),
    (TypeError, "x must be floating, got torch.int64", {"x": torch.ones(2, IN).long()}),
    (TypeError, "weight is torch.float64 but x is", {"weight": torch.ones(OUT, IN).double()}),
    (TypeError, "bias is torch.float64 but x is", {"bias": torch.ones(OUT).double()}),
    (ValueError, "weight is on meta but x is on cpu", {"weight": torch.ones(OUT, IN).to("meta")}),
    (ValueError, r"must both be \[out, in\]", {"mask": torch.ones(OUT, 1).bool()}),
    (ValueError, r"x must be \[\.\.\., 24\].*got \[2, 23\]", {"x": torch.ones(2, 23)}),
    (ValueError, r"x must be \[\.\.\., 24\].*got \[\]", {"x": torch.tensor(1.0)}),
    (ValueError, r"bias must be \[13\], got \[1\]", {"bias": torch.ones(1)}),
]


@pytest.mark.parametrize(("kind", "words", "changes"), ERRORS, ids=[e[1] for e in ERRORS])
def test_wrong_calls_are_refused(kind: type[Exception], words: str, changes: Any) -> None:
    x, weight, mask, bias = case(2)
    right = {"x": x, "weight": weight, "mask": mask, "bias": bias}
    with pytest.raises(kind, match=words):
        ops.masked_linear(**{**right, **changes})
