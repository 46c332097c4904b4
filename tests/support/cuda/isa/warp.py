"""Shuffles, votes, syncwarp: PTX ISA, "shfl.sync", its pseudocode; CUDA's width is 32."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.support.cuda.isa.base import Given, bits, equal

OPEN: set[str] = set()
CASES = 24


def given(which: str, gen: torch.Generator) -> Given:
    words = bits(gen, CASES, 32, 4)
    # Offsets within the warp, at its ends, and beyond; then all bits, of which five count.
    small = torch.randint(0, 34, (CASES // 2, 32), generator=gen).to(torch.int32)
    words[: CASES // 2, :, 2] = small
    mode = which.removeprefix("wide_")
    if mode in ("shfl_up", "shfl_down"):  # one offset for a whole warp, as kernels have it
        words[: CASES // 4, :, 2] = words[: CASES // 4, :1, 2]
    if which in ("any", "all"):  # not always the same answer
        words[::3, :, 0] |= 1
        words[1::3, :, 0] &= ~1
    masks = bits(gen, CASES)
    masks[::2] = -1
    if which == "syncwarp" or mode.startswith("shfl"):
        masks[1::4] = -1
    words[..., 3] = masks[:, None]
    for case in range(CASES):  # a lane that takes no part gives nothing
        _read_only_members(mode, words[case])
    return Given(words, bits(gen, CASES, 32, 2))


def _read_only_members(mode: str, words: Tensor) -> None:
    """Give lanes that would read a lane outside of the mask an operand that does not."""
    members = [lane for lane in range(32) if int(words[lane, 3]) >> lane & 1]
    for lane in members:
        if source(mode, lane, int(words[lane, 2])) not in members:
            own = {"shfl": lane, "syncwarp": lane}
            words[lane, 2] = own.get(mode, 0)


def source(mode: str, lane: int, operand: int) -> int:
    """Return the lane read, by the ISA's pseudocode with c = 0x1f, for .up 0."""
    b = operand & 31
    if mode == "shfl_up":
        return lane - b if lane - b >= 0 else lane
    if mode == "shfl_down":
        return lane + b if lane + b <= 31 else lane
    if mode == "shfl_xor":
        return lane ^ b
    return b


def judge(which: str, given: Given, after: Tensor) -> None:
    wanted = torch.zeros_like(after)
    for case, words in enumerate(given.words):
        mask = int(words[0, 3])
        members = [lane for lane in range(32) if mask >> lane & 1]
        votes = [lane for lane in members if int(words[lane, 0]) & 1]
        for lane in members:
            if which in ("ballot", "any", "all"):
                ballot = sum(1 << voter for voter in votes)
                answer = {"any": int(bool(votes)), "all": int(votes == members)}.get(which, ballot)
                wanted[case, lane, 0] = answer - 2**32 if answer >= 2**31 else answer
                continue
            mode = which.removeprefix("wide_")
            other = words[source(mode, lane, int(words[lane, 2]))]
            count = 2 if which.startswith("wide") else 1
            wanted[case, lane, :count] = other[:count]
    equal(after, wanted)
