"""What an oracle of conformance kernels is: what it gives them, and what must come back.

An oracle is a module of this package, of the name of a file in csrc/cuda/isa. It is written from
the text of the PTX ISA and from numpy and torch, with no model of csrc/cuda/emu in it. It has
    given(which, gen) -> Given             bits for instruction `which`
    judge(which, given, after) -> None     raises unless `after`, what `out` holds then, is right
    OPEN: set of instructions of which the ISA leaves some bits open: a sum's order, who came first
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor


@dataclass(frozen=True)
class Given:
    """What a launch is given, int32.

    Args:
        words: [cases, threads, words in].
        before: [cases, threads, words out], what `out` holds.
        truth: what the oracle wants to know again, such as the matrices behind fragments.
    """

    words: Tensor
    before: Tensor
    truth: object = None


def oracle(kernel: str) -> ModuleType:
    """Return the oracle of kernel `isa_<file>`."""
    return importlib.import_module(f"{__package__}.{kernel.removeprefix('isa_')}")


def bits(gen: torch.Generator, *shape: int) -> Tensor:
    """Return random words, int32."""
    return torch.randint(-(2**31), 2**31, shape, generator=gen).to(torch.int32)


def unsigned(words: Tensor) -> Tensor:
    """Return words as the numbers from 0 to 2**32 that they are, int64."""
    return words.long() & 0xFFFFFFFF


def signed(numbers: Tensor) -> Tensor:
    """Return numbers from 0 to 2**32, int64, as words, int32."""
    return ((numbers + 2**31) % 2**32 - 2**31).to(torch.int32)


def equal(after: Tensor, wanted: Tensor) -> None:
    """Raise unless every word is as wanted."""
    wrong = (after != wanted).nonzero()
    if len(wrong):
        at = tuple(wrong[0].tolist())
        raise AssertionError(
            f"{len(wrong)} of {after.numel()} words differ; first of case, thread, word {at}: "
            f"{int(after[at]) & 0xFFFFFFFF:#010x}, wanted {int(wanted[at]) & 0xFFFFFFFF:#010x}"
        )
