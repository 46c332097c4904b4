"""Every convolving candidate of ours, by name on this GPU, against the truth in float64.

cuDNN may take an algorithm that is not exact on whole numbers; that it is called rightly is tested
on the CPU, in tests/backends/test_gpu_conv_checks.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from secateur import ops
from secateur.backends import gpus
from secateur.backends.candidates import CANDIDATES, DENSE, Candidate
from tests.support import gpu_conv as checks
from tests.support import judge
from tests.support.cuda.convolved import CASES

DTYPES = [torch.float16, torch.bfloat16]
EVERY = [CANDIDATES.get(name) for name in CANDIDATES.names()]
NAMES = [each.name for each in EVERY if each.convolves and each.format != DENSE]
GPU = torch.device("cuda", 0)


@pytest.fixture(params=NAMES)
def candidate(request: pytest.FixtureRequest) -> Candidate:
    found = CANDIDATES.get(request.param)
    if found.missing():
        pytest.skip(f"{found.name}: {found.missing()}")
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_exact_on_whole_numbers(candidate: Candidate, dtype: torch.dtype) -> None:
    assert checks.exact(candidate, gpus.of(0), GPU, dtype)


def test_x_may_lie_in_any_way(candidate: Candidate) -> None:
    checks.strided(candidate, GPU)


def test_infinity_stays_in_its_image(candidate: Candidate) -> None:
    checks.infinite(candidate, GPU)


def test_it_follows_the_current_stream(candidate: Candidate) -> None:
    made = checks.make(CASES["3x3"], GPU)
    stream = torch.cuda.Stream()
    x = torch.zeros_like(made.operands.x)
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10_000_000)
        x.copy_(made.operands.x)  # after the sleep: a kernel on another stream would read zeros
        y = candidate.run(replace(made.operands, x=x))
    stream.synchronize()
    judge.exact_truth(y.cpu(), made.truth)


@pytest.mark.parametrize("residual", ["none", "last", "first"])
def test_the_op_is_exact_however_x_lies(residual: str) -> None:
    case = replace(CASES["3x3"], act="relu", residual=residual)
    made = checks.make(case, GPU)
    call, conv = made.operands, checks.convolution(case)
    for x in (call.x, call.x.contiguous()):
        y = ops.semi_frag_conv2d(
            *(x, call.values, call.index, call.bias, call.residual),
            out_channels=case.out,
            kernel_size=conv.kernel_size,
            padding=conv.padding,
            act="relu",
            residual_first=residual == "first",
        )
        judge.exact_truth(y.cpu(), made.truth)
