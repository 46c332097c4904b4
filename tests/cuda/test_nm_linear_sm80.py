"""nm_linear_sm80*: the tiled 2:4 products, of every tile, layout and type."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.support import data, judge, truth
from tests.support.cuda import tiled
from tests.support.cuda.emulator import Emulator
from tests.support.cuda.tiled import Call

CASES = [(name, kind) for name in tiled.NAMES for kind in tiled.types_of(name)]
each_kernel = pytest.mark.parametrize(("name", "kind"), CASES)


def weight_and_mask(out: int, in_: int, kind: str, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return whole numbers and what is kept; columns behind the last whole four are pruned."""
    mask = torch.zeros(out, in_, dtype=torch.bool)
    mask[:, : in_ // 4 * 4] = data.nm_mask(out, in_ // 4 * 4, 2, 4, gen)
    return data.integers((out, in_), gen, tiled.TYPES[kind]) * mask, mask


def wanted(y: Tensor, expected: truth.Truth) -> None:
    judge.exact_truth(y, expected)


def check_exact(
    emulator: Emulator, name: str, kind: str, rows: int, out: int, in_: int, seed: int, split: int = 0
) -> None:
    gen = data.generator(seed)
    weight, mask = weight_and_mask(out, in_, kind, gen)
    x = data.integers((rows, in_), gen, tiled.TYPES[kind])
    bias = data.integers((out,), gen)
    call = Call(x, weight, bias, split=split)
    y, outcome = tiled.launch(emulator, name, call, seed=seed)
    outcome.clean()
    judge.exact_truth(y, truth.linear(x, weight, mask, bias))


@each_kernel
def test_whole_numbers_are_summed_exactly(emulator: Emulator, name: str, kind: str) -> None:
    in_ = 208 if kind != "i8" else 336
    check_exact(emulator, name, kind, 37, 104, in_, seed=1)
