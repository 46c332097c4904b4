"""Loads, stores and cp.async: bytes arrive as they were, and no others are touched."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.support.cuda.isa.base import Given, bits, equal

OPEN: set[str] = set()
CASES, THREADS, WORDS = 6, 32, 12
MOVED = 31  # bytes, of 48: 16, 8, 4, 2 and 1
FILL = 0xAB - 256  # what a copy finds
COPIED = {"copy_16_cg": 16, "copy_16_ca": 16, "copy_8": 8, "copy_4": 4, "copy_groups": 16}


def given(which: str, gen: torch.Generator) -> Given:
    words = bits(gen, CASES, THREADS, WORDS)
    size = COPIED.get(which, 0)
    words[..., 8] = torch.randint(0, size + 1, (CASES, THREADS), generator=gen).to(torch.int32)
    words[0, :, 8] = size
    return Given(words, bits(gen, CASES, THREADS, WORDS))


def judge(which: str, given: Given, after: Tensor) -> None:
    source, wanted = given.words.view(torch.int8), given.before.clone().view(torch.int8)
    if which in COPIED:
        wanted[..., :16] = FILL
        size = COPIED[which]
        there = torch.arange(size) < given.words[..., 8, None]
        wanted[..., :size] = torch.where(there, source[..., :size], 0)
    else:
        moved = 4 if which == "acquire_release" else MOVED
        wanted[..., :moved] = source[..., :moved]
    equal(after, wanted.view(torch.int32))
