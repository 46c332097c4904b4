"""One small call of each of our kernels: what a sanitizer, which is slow, is given."""

from __future__ import annotations

import pytest
import torch

from secateur.backends import gpus
from secateur.backends.candidates import CANDIDATES
from tests.support import gpu as checks
from tests.support import gpu_conv
from tests.support.cuda.convolved import CASES

VENDORS = ("cublas", "cudnn", "cusparselt", "torch")
OURS = [n for n in CANDIDATES.names() if not n.startswith(VENDORS)]


@pytest.mark.parametrize("name", OURS)
def test_a_small_call_is_exact(name: str) -> None:
    candidate = CANDIDATES.get(name)
    if candidate.missing():
        pytest.skip(f"{name}: {candidate.missing()}")
    if candidate.convolves:
        made = gpu_conv.make(CASES["groups of whole tiles"], torch.device("cuda", 0))
        gpu_conv.judge.exact_truth(candidate.run(made.operands).cpu(), made.truth)
        return
    for rows in (1, 9):
        made = checks.case(candidate.format, (33, 72), rows, torch.device("cuda", 0))
        if candidate.refuses(made.problem, gpus.of(0)) is None:
            checks.judge.exact_truth(candidate.run(made.operands).cpu(), made.truth())
