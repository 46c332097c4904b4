"""bfind, a step of a scan by shfl.sync.up, and a predicated load: PTX ISA, by Python's numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.support.cuda.isa.base import Given, bits, equal, signed, unsigned

OPEN: set[str] = set()
CASES = 24


def given(which: str, gen: torch.Generator) -> Given:
    words = bits(gen, CASES, 32, 2)
    if which == "highest":
        words[0, :, 0] = (2 ** torch.arange(32)).to(torch.int32)
        words[1] = 0
    if which == "add_up":  # one step for a whole warp, as kernels have it
        words[::2, :, 1] = words[::2, :1, 1]
        words[:5, :, 1] = signed(2 ** torch.arange(5) << 27)[:, None]
    if which == "take_if":
        words[::2, ::3, 1] &= ~0xFF
    return Given(words, bits(gen, CASES, 32, 2))


def judge(which: str, given: Given, after: Tensor) -> None:
    wanted = torch.zeros_like(after)
    for case, words in enumerate(unsigned(given.words).tolist()):
        halves = [half for word, _ in words for half in (word & 0xFFFF, word >> 16)]
        for lane, (first, second) in enumerate(words):
            found = [0, 0]
            if which == "highest":
                found[0] = (first.bit_length() - 1) % 2**32
            elif which == "add_up":
                below = lane - (second >> 27)
                found[0] = (first + (words[below][0] if below >= 0 else 0)) % 2**32
            else:
                at, takes = second >> 26, second & 0xFF != 0
                found = [halves[at] if takes else 0, 2 * (at + takes)]
            wanted[case, lane] = signed(torch.tensor(found))
    equal(after, wanted)
