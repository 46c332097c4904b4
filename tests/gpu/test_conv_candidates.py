"""Every convolving candidate that runs on this GPU, by name, against the truth in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from secateur import ops
from secateur.backends import gpus
from secateur.backends.candidates import CANDIDATES, Candidate
from tests.support import gpu_conv as checks
from tests.support import judge
from tests.support.cuda.convolved import CASES

DTYPES = [torch.float16, torch.bfloat16]
NAMES = [name for name in CANDIDATES.names() if CANDIDATES.get(name).convolves]
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
def test_the_op_is_right_whatever_it_picks(residual: str) -> None:
    case = replace(CASES["3x3"], act="relu", residual=residual)
    made = checks.make(case, GPU)
    call, conv = made.operands, checks.convolution(case)
    for dense in (None, call.dense):
        for x in (call.x, call.x.contiguous()):
            y = ops.semi_frag_conv2d(
                *(x, call.values, call.index, call.bias, call.residual),
                dense=dense,
                out_channels=case.out,
                kernel_size=conv.kernel_size,
                padding=conv.padding,
                act="relu",
                residual_first=residual == "first",
            )
            judge.exact_truth(y.cpu(), made.truth)
