"""ldmatrix: PTX ISA, "Warp-level matrix load instruction: ldmatrix", the figure of .m8n8.b16."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.support.cuda.isa.base import Given, bits, equal

OPEN: set[str] = set()
CASES, ROWS = 8, 128


def given(which: str, gen: torch.Generator) -> Given:
    words = bits(gen, CASES, 32, 17)
    words[..., 16] = torch.randint(0, ROWS, (CASES, 32), generator=gen).to(torch.int32)
    return Given(words, bits(gen, CASES, 32, 4))


def judge(which: str, given: Given, after: Tensor) -> None:
    count = int(which[1])
    wanted = torch.zeros_like(after)
    for case in range(CASES):
        memory = given.words[case, :, :16].reshape(ROWS, 4).view(torch.int16)  # 8 halves a row
        rows = given.words[case, :, 16].tolist()
        for m in range(count):
            matrix = torch.stack([memory[rows[8 * m + i]] for i in range(8)])
            if which.endswith("trans"):
                matrix = matrix.T
            # thread 4 i + j holds elements 2 j and 2 j + 1 of row i
            wanted[case, :, m] = matrix.reshape(32, 2).contiguous().view(torch.int32)[:, 0]
    equal(after, wanted)
