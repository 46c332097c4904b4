"""Words from one block to another: they come as they were sent."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.support.cuda.isa.base import Given, bits, equal, signed, unsigned

OPEN: set[str] = set()
CASES, THREADS = 8, 64


def given(which: str, gen: torch.Generator) -> Given:
    return Given(bits(gen, CASES, THREADS, 1), bits(gen, CASES, THREADS, 1))


def judge(which: str, given: Given, after: Tensor) -> None:
    wanted = given.before.clone()
    if which == "last":
        wanted[0] = signed(unsigned(given.words).sum(0))
    else:
        wanted[1::2] = given.words[::2]
    equal(after, wanted)
