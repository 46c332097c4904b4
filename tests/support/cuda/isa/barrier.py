"""Barriers: what a partner left before a barrier is there behind it."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.support.cuda.isa.base import Given, bits, equal, unsigned

OPEN: set[str] = set()
CASES, THREADS, HALF = 6, 128, 64


def given(which: str, gen: torch.Generator) -> Given:
    return Given(bits(gen, CASES, THREADS, 2), bits(gen, CASES, THREADS, 1))


def judge(which: str, given: Given, after: Tensor) -> None:
    values, partners = given.words[..., 0], unsigned(given.words[..., 1])
    upper = torch.arange(THREADS) >= HALF
    if which == "whole":
        wanted = values.gather(1, partners % THREADS)
    elif which == "named":
        wanted = values.gather(1, partners % HALF + HALF * upper)
    else:
        wanted = torch.where(upper, values.gather(1, partners % HALF), 0)
    equal(after, wanted[..., None])
