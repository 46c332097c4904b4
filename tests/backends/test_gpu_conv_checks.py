"""The checks of convolutions in tests/gpu, run here on cuDNN: torch has that function anywhere.

A right one passes them, and each is failed by the mistake that it is there for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.gpu import bench, cases
from secateur.backends import gpus, registry
from secateur.backends.candidates import CANDIDATES, DENSE, Candidate, Operands
from tests.support import gpu_conv as checks
from tests.support.cuda.convolved import CASES

CPU, A100 = torch.device("cpu"), gpus.KNOWN[0]
CUDNN = CANDIDATES.get("cudnn")


def spoilt(
    x: Callable[[Tensor], Tensor] = lambda x: x, y: Callable[[Tensor], Tensor] = lambda y: y
) -> Candidate:
    found = copy.copy(CUDNN)

    def run(call: Operands) -> Tensor:
        changed = copy.copy(call)
        object.__setattr__(changed, "x", x(call.x))
        return y(CUDNN.run(changed))

    object.__setattr__(found, "run", run)
    return found


def as_it_lies(x: Tensor) -> Tensor:
    """Read memory from the first pixel on, as a kernel without strides would."""
    batch, channels, high, wide = x.shape
    size = (batch, high, wide, channels)
    steps = (high * wide * channels, wide * channels, channels, 1)
    return x.as_strided(size, steps).permute(0, 3, 1, 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_right_one_passes(dtype: torch.dtype) -> None:
    assert checks.exact(CUDNN, A100, CPU, dtype) == len(CASES)
    checks.strided(CUDNN, CPU)
    checks.infinite(CUDNN, CPU)


def test_a_wrong_one_fails() -> None:
    def off(y: Tensor) -> Tensor:
        y[-1, -1, -1, -1] += 1
        return y

    with pytest.raises(AssertionError, match="1 of"):
        checks.exact(spoilt(y=off), A100, CPU, torch.float16)
    with pytest.raises(AssertionError):
        checks.exact(spoilt(y=Tensor.contiguous), A100, CPU, torch.float16)
    with pytest.raises(AssertionError):
        checks.strided(spoilt(x=as_it_lies), CPU)
    with pytest.raises(AssertionError, match="elements differ"):
        checks.infinite(spoilt(y=lambda y: y + y[1:2] * 0), CPU)


def test_the_benchmark_makes_its_images_and_sees_an_error() -> None:
    case = next(case for case in cases.CASES if case.problem.convolution is not None)
    conv = case.problem.convolution
    assert conv is not None
    small = checks.Problem.of_convolution(
        checks.Convolution((2, 16, 5, 6), conv.kernel_size, padding=conv.padding), 32, 0.5
    )
    call = bench.made(cases.Case("any", "semi_frag", small), CPU)
    assert call.dense is not None
    assert (call.dense != 0).float().mean() == 0.5
    assert bench.over_bound(CUDNN, call) <= 1
    assert bench.over_bound(spoilt(y=lambda y: y * 1.01), call) > 1
    assert bench.over_bound(spoilt(y=lambda y: y * float("nan")), call) == float("inf")
    known = registry.estimates("semi_frag", small, A100, installed=False)
    assert {e.candidate.name for e in known if e.candidate.format == DENSE} == {"cudnn"}
