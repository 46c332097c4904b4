"""Bit for bit the masks of torch.nn.utils.prune, which is the oracle here, on random shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune as theirs

from secateur.compat import torch_prune as ours

SHAPES = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
DEEP = st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple)
AMOUNTS = st.floats(0, 1) | st.integers(0, 3)
ORDERS = (0, 0.5, 1, 2, 3, math.inf, -math.inf, "fro")
few = settings(max_examples=60, deadline=None)


class Holder(nn.Module):
    """One parameter of any shape."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self) -> Tensor:
        return self.weight


def distinct(shape: tuple[int, ...], seed: int) -> Tensor:
    """Weights of either sign, no two of one magnitude, so that torch's choice is not by chance."""
    n = math.prod(shape)
    draws = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, (n,), generator=draws) * 2 - 1
    # Powers spread apart: no two Ln norms of channels are equal either.
    values = 1.03 ** (torch.randperm(n, generator=draws) % 500).double()
    values = values * (1 + torch.rand(n, generator=draws, dtype=torch.float64))
    return (values * signs).float().view(shape)


def pair(shape: tuple[int, ...], seed: int) -> tuple[Holder, Holder]:
    weight = distinct(shape, seed)
    return Holder(weight.clone()), Holder(weight.clone())


def refused_by(call: Callable[[], object]) -> type[Exception] | None:
    try:
        call()
    except (ValueError, IndexError, TypeError) as error:
        return type(error)
    return None


def assert_alike(mine: nn.Module, torchs: nn.Module) -> None:
    if not hasattr(torchs, "weight_mask"):
        assert not hasattr(mine, "weight_mask")
        return
    assert torch.equal(mine.weight_mask, torchs.weight_mask != 0)
    assert torch.equal(mine.weight, torchs.weight)


def assert_same_calls(shape: tuple[int, ...], seed: int, calls: list[tuple[str, Any]]) -> None:
    """Make the same calls to both; they give the same masks, or refuse alike."""
    mine, torchs = pair(shape, seed)
    for name, arguments in calls:
        before = getattr(mine, "weight_mask", None)
        before = None if before is None else before.clone()
        a = refused_by(lambda n=name, k=arguments: getattr(ours, n)(mine, "weight", **k))
        b = refused_by(lambda n=name, k=arguments: getattr(theirs, n)(torchs, "weight", **k))
        assert a == b, f"{name}({arguments}) on {shape}: {a} here, {b} there"
        if a is not None:
            after = getattr(mine, "weight_mask", None)
            assert (after is None) == (before is None)
            assert before is None or torch.equal(before, after)
            return
        assert_alike(mine, torchs)


@few
@given(SHAPES, st.integers(0, 2**32), st.lists(AMOUNTS, min_size=1, max_size=3))
def test_l1_unstructured(shape: tuple[int, ...], seed: int, amounts: list[float]) -> None:
    assert_same_calls(shape, seed, [("l1_unstructured", {"amount": a}) for a in amounts])


@few
@given(
    SHAPES,
    st.integers(0, 2**32),
    st.lists(
        st.tuples(AMOUNTS, st.sampled_from(ORDERS), st.integers(-4, 4)), min_size=1, max_size=3
    ),
)
def test_ln_structured(shape: tuple[int, ...], seed: int, how: list[tuple[Any, Any, int]]) -> None:
    # Of order 0 all norms are equal, and of one channel alone: then only the count is torch's.
    how = [(a, 2 if n == 0 else n, d) for a, n, d in how]
    calls = [("ln_structured", {"amount": a, "n": n, "dim": d}) for a, n, d in how]
    assert_same_calls(shape, seed, calls)


@few
@given(
    DEEP,
    st.integers(0, 2**32),
    st.lists(
        st.tuples(st.sampled_from(["l1", "ln", "mask", "identity"]), st.floats(0, 0.8)),
        min_size=2,
        max_size=4,
    ),
)
def test_repeated_and_mixed(
    shape: tuple[int, ...], seed: int, how: list[tuple[str, float]]
) -> None:
    calls: list[tuple[str, Any]] = []
    for at, (kind, amount) in enumerate(how):
        draws = torch.Generator().manual_seed(seed + at)
        calls.append(
            {
                "l1": ("l1_unstructured", {"amount": amount}),
                "ln": ("ln_structured", {"amount": amount, "n": 2, "dim": at % len(shape)}),
                "mask": (
                    "custom_from_mask",
                    {"mask": (torch.rand(shape, generator=draws) > amount).float()},
                ),
                "identity": ("identity", {}),
            }[kind]
        )
    assert_same_calls(shape, seed, calls)


@few
@given(
    SHAPES,
    st.integers(0, 2**31),
    st.lists(AMOUNTS, min_size=1, max_size=3),
    st.integers(-2, 1),
    st.booleans(),
)
def test_random_draws_what_torch_draws(
    shape: tuple[int, ...], seed: int, amounts: list[float], dim: int, structured: bool
) -> None:
    mine, torchs = pair(shape, seed)
    name = "random_structured" if structured else "random_unstructured"
    more = {"dim": dim} if structured else {}
    for amount in amounts:
        found = []
        for library, module in ((ours, mine), (theirs, torchs)):
            torch.manual_seed(seed)
            call = getattr(library, name)
            found.append(refused_by(lambda c=call, m=module, a=amount: c(m, "weight", a, **more)))
        assert found[0] == found[1]
        if found[0] is not None:
            return  # torch leaves a module that it refused to prune without its hook
        assert_alike(mine, torchs)


@few
@given(
    st.lists(SHAPES, min_size=1, max_size=3),
    st.integers(0, 2**31),
    st.lists(st.floats(0, 1), min_size=1, max_size=3),
    st.sampled_from(["L1Unstructured", "RandomUnstructured"]),
)
def test_global_unstructured(
    shapes: list[tuple[int, ...]], seed: int, amounts: list[float], method: str
) -> None:
    n = sum(math.prod(shape) for shape in shapes)
    weights = [w.clone() for w in distinct((n,), seed).split([math.prod(s) for s in shapes])]
    models = [
        nn.ModuleList(Holder(w.clone().view(s)) for w, s in zip(weights, shapes, strict=True))
        for _ in range(2)
    ]
    for amount in amounts:
        for library, model in ((ours, models[0]), (theirs, models[1])):
            torch.manual_seed(seed)
            parameters = [(layer, "weight") for layer in model]
            library.global_unstructured(parameters, getattr(library, method), amount=amount)
        for mine, torchs in zip(*models, strict=True):
            assert_alike(mine, torchs)


@few
@given(DEEP, st.integers(0, 2**31), st.floats(0, 1))
def test_scores_in_place_of_the_weights(shape: tuple[int, ...], seed: int, amount: float) -> None:
    given = distinct(shape, seed + 1)
    for name, more in (
        ("l1_unstructured", {}),
        ("ln_structured", {"n": 1, "dim": 0}),
    ):
        how = {"amount": amount, "importance_scores": given, **more}
        assert_same_calls(shape, seed, [(name, how)])
    mine, torchs = pair(shape, seed)
    for library, module in ((ours, mine), (theirs, torchs)):
        library.global_unstructured(
            [(module, "weight")],
            library.L1Unstructured,
            importance_scores={(module, "weight"): given},
            amount=amount,
        )
    assert_alike(mine, torchs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_widths(dtype: torch.dtype) -> None:
    values = torch.arange(1, 129, dtype=torch.float64)[torch.randperm(128)].view(8, 16)
    for name, how in (
        ("l1_unstructured", {"amount": 0.3}),
        ("ln_structured", {"amount": 3, "n": math.inf, "dim": 0}),
    ):
        mine, torchs = Holder(values.to(dtype)), Holder(values.to(dtype))
        getattr(ours, name)(mine, "weight", **how)
        getattr(theirs, name)(torchs, "weight", **how)
        assert_alike(mine, torchs)


def test_the_nuclear_norm() -> None:
    mine, torchs = pair((5, 4, 3), 0)
    for library, module in ((ours, mine), (theirs, torchs)):
        library.ln_structured(module, "weight", 2, "nuc", 0)
    assert_alike(mine, torchs)


def test_of_equals_the_lowest_index_is_kept() -> None:
    """torch's topk leaves this open: with these ties it keeps whichever its selection leaves."""
    module = ours.l1_unstructured(Holder(torch.ones(2, 50)), "weight", 0.25)
    assert torch.equal(module.weight_mask, torch.arange(100).view(2, 50) < 75)
    torchs = theirs.l1_unstructured(Holder(torch.ones(2, 50)), "weight", 0.25)
    assert int(torchs.weight_mask.sum()) == int(module.weight_mask.sum())
    rows = ours.ln_structured(Holder(torch.ones(4, 3)), "weight", 1, 2, dim=0)
    assert rows.weight_mask[:, 0].tolist() == [True, True, True, False]
    both = [Holder(torch.ones(3)), Holder(torch.ones(3))]
    ours.global_unstructured([(m, "weight") for m in both], ours.L1Unstructured, amount=4)
    assert [m.weight_mask.tolist() for m in both] == [[True, True, False], [False] * 3]


def test_a_method_of_the_users_own() -> None:
    """The same class body, once for each library."""

    def make(library: Any) -> Any:
        class EveryOther(library.BasePruningMethod):
            PRUNING_TYPE = "unstructured"

            def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
                mask = default_mask.clone()
                mask.view(-1)[::2] = 0
                return mask

        return EveryOther

    mine, torchs = pair((3, 5), 0)
    for library, module in ((ours, mine), (theirs, torchs)):
        method = make(library)
        method.apply(module, "weight")
        library.l1_unstructured(module, "weight", 1)
        method.apply(module, "weight")
        library.global_unstructured([(module, "weight")], method)
    assert_alike(mine, torchs)


def test_torchs_own_classes_are_taken_as_markers() -> None:
    mine, torchs = pair((3, 5), 0)
    for library, module in ((ours, mine), (theirs, torchs)):
        library.global_unstructured([(module, "weight")], theirs.L1Unstructured, amount=0.4)
    assert_alike(mine, torchs)


def test_a_generator_gives_the_same_masks_and_leaves_torchs_alone() -> None:
    state = torch.get_rng_state()
    made = []
    for _ in range(2):
        draws = torch.Generator().manual_seed(5)
        layer, conv = nn.Linear(9, 7), nn.Conv2d(8, 6, 3)
        torch.set_rng_state(state)
        ours.random_unstructured(layer, "weight", 0.4, generator=draws)
        ours.random_structured(conv, "weight", 2, dim=0, generator=draws)
        ours.global_unstructured(
            [(layer, "weight"), (conv, "weight")],
            ours.RandomUnstructured,
            amount=0.3,
            generator=draws,
        )
        made.append(ours.masks(nn.Sequential(layer, conv)))
    assert torch.equal(torch.get_rng_state(), state)
    assert made[0] == made[1]
