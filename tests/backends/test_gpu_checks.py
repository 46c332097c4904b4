"""The checks of tests/gpu, run here on candidates emulated by the definition: right ones pass them,
and each is failed by the mistake that it is there for."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.gpu import bench
from benchmarks.gpu.cases import Case
from secateur.backends import gpus
from secateur.backends.candidates import CANDIDATES, Candidate, Operands, Problem
from secateur.formats import FORMATS
from secateur.ops import _reference
from secateur.ops._call import Call
from tests.support import gpu as checks

CPU, A100 = torch.device("cpu"), gpus.KNOWN[0]


def emulated(name: str, spoil: Callable[[Tensor], Tensor] = lambda y: y) -> Candidate:
    candidate = copy.copy(CANDIDATES.get(name))

    def run(call: Operands) -> Tensor:
        whole = Call(
            x=call.x,
            values=call.values,
            index=call.index,
            bias=call.bias,
            residual=call.residual,
            out_features=call.out_features,
            act=call.act,
        )
        return spoil(_reference.linear(FORMATS.get(candidate.format), whole))

    object.__setattr__(candidate, "run", run)
    return candidate


@pytest.mark.parametrize(
    "name", ["semi_frag_decode", "semi_product", "lb32_gather", "n32_balanced"]
)
def test_a_right_candidate_passes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ROWS", (1, 9, 16))
    monkeypatch.setattr(checks, "SHAPES", ((33, 72), (16, 8)))
    candidate = emulated(name)
    assert checks.exact(candidate, A100, CPU, torch.float16)
    checks.strided(candidate, A100, CPU)
    checks.infinite(candidate, A100, CPU)


def test_a_wrong_one_fails() -> None:
    def off(y: Tensor) -> Tensor:
        y[-1, -1] += 1
        return y

    with pytest.raises(AssertionError, match="1 of"):
        checks.exact(emulated("semi_product", off), A100, CPU, torch.float16)
    with pytest.raises(AssertionError, match="elements differ"):
        leaks = emulated("semi_product", lambda y: y + (y[3] * 0))
        checks.infinite(leaks, A100, CPU)


@pytest.mark.parametrize(
    ("format", "density", "pattern"),
    [
        ("semi", 0.5, (0, 0)),
        ("semi_frag", 0.5, (0, 0)),
        ("lb32", 0.3, (0, 0)),
        ("n32", 0.25, (8, 32)),
    ],
)
def test_the_benchmark_makes_its_operands_and_sees_an_error(
    format: str, density: float, pattern: tuple[int, int]
) -> None:
    case = Case("any", format, Problem(3, 64, 256, density, pattern=pattern))
    call = bench.made(case, CPU)
    assert call.dense is not None
    kept = (call.dense != 0).float().mean()
    assert kept == density if format != "lb32" else abs(kept - density) < 0.05
    name = next(n for n in CANDIDATES.names() if CANDIDATES.get(n).format == format)
    assert bench.over_bound(emulated(name), call) <= 1
    assert bench.over_bound(emulated(name, lambda y: y * 1.01), call) > 1
    assert bench.over_bound(emulated(name, lambda y: y * float("nan")), call) == float("inf")
    assert len(bench._copies(call)) == bench.MOST_COPIES


@pytest.mark.parametrize(
    ("format", "density", "pattern"), [("bsr", 0.25, (64, 64)), ("nm", 0.25, (1, 4))]
)
def test_the_benchmarks_masks_have_the_pattern_of_the_case(
    format: str, density: float, pattern: tuple[int, int]
) -> None:
    case = Case("any", format, Problem(3, 256, 512, density, pattern=pattern))
    dense = bench.made(case, CPU).dense
    assert dense is not None
    kept = dense != 0
    assert float(kept.float().mean()) == density
    assert FORMATS.get(format).pattern(kept)[:2] == pattern
