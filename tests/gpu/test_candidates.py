"""Every candidate of linear layers that runs on this GPU, by name, against the truth in float64."""

from __future__ import annotations

import pytest
import torch

from secateur.backends import gpus
from secateur.backends.candidates import CANDIDATES, Candidate
from tests.support import gpu as checks

DTYPES = [torch.float16, torch.bfloat16]
NAMES = [name for name in CANDIDATES.names() if not CANDIDATES.get(name).convolves]


@pytest.fixture(params=NAMES)
def candidate(request: pytest.FixtureRequest) -> Candidate:
    found = CANDIDATES.get(request.param)
    if found.missing():
        pytest.skip(f"{found.name}: {found.missing()}")
    low, high = found.capability
    if not low <= gpus.of(0).capability <= high:
        pytest.skip(f"{found.name} is for compute capability {low} to {high}")
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_exact_on_whole_numbers(candidate: Candidate, dtype: torch.dtype) -> None:
    assert checks.exact(candidate, gpus.of(0), torch.device("cuda", 0), dtype)


def test_rows_of_x_may_lie_anywhere(candidate: Candidate) -> None:
    checks.strided(candidate, gpus.of(0), torch.device("cuda", 0))


def test_infinity_stays_in_its_row(candidate: Candidate) -> None:
    checks.infinite(candidate, gpus.of(0), torch.device("cuda", 0))


def test_it_follows_the_current_stream(candidate: Candidate) -> None:
    made = checks.case(candidate.format, (128, 256), 8, torch.device("cuda", 0))
    stream = torch.cuda.Stream()
    x = torch.zeros_like(made.operands.x)
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10_000_000)
        x.copy_(made.operands.x)  # after the sleep: a kernel on another stream would read zeros
        y = candidate.run(type(made.operands)(**{**made.operands.__dict__, "x": x}))
    stream.synchronize()
    checks.judge.exact_truth(y.cpu(), made.truth())


def test_it_runs_on_the_device_of_x(candidate: Candidate) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    made = checks.case(candidate.format, (128, 256), 8, torch.device("cuda", 1))
    with torch.cuda.device(0):
        y = candidate.run(made.operands)
    assert y.device.index == 1
    checks.judge.exact_truth(y.cpu(), made.truth())
