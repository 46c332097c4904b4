"""Weights as lb32 and n32, packed one element at a time by the words of the contract.

The contract is csrc/cuda/lane_linear/lane_linear.h. Nothing of secateur.formats, which packs for
users, is in it.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

LANES = 32
ROWS = 16
LB32_COLUMNS, N32_COLUMNS = 64, 128
ALIGNED = 8  # values; a tile of lb32 begins there


class Lanes(NamedTuple):
    """The arrays of a packed weight; `starts` is empty for n32 and `most` 0, for lb32 `n` is 0."""

    values: Tensor
    masks: Tensor
    starts: Tensor
    most: int
    n: int


def lb32(weight: Tensor, mask: Tensor) -> Lanes:
    """Return a weight [out, in] as lb32."""
    out, in_ = weight.shape
    numbers, kept = weight.tolist(), mask.tolist()
    values: list[float] = []
    words: list[int] = []
    starts = [0]
    for row0 in range(0, out, ROWS):
        for column0 in range(0, in_, LB32_COLUMNS):
            for lane in range(LANES):
                word = 0
                for bit in range(32):
                    s, c, h, e = bit >> 3, bit >> 2 & 1, bit >> 1 & 1, bit & 1
                    row = row0 + lane // 4 + 8 * h
                    column = column0 + 16 * s + 8 * c + 2 * (lane % 4) + e
                    if row < out and column < in_ and kept[row][column]:
                        word |= 1 << bit
                        values.append(numbers[row][column])
                words.append(word)
            values += [float("nan")] * (-len(values) % ALIGNED)
            starts.append(len(values))
    most = max((b - a for a, b in itertools.pairwise(starts)), default=0)
    return Lanes(_values(values, weight.dtype), _words(words), _words(starts), most, 0)


def n32(weight: Tensor, mask: Tensor, n: int) -> Lanes:
    """Return a weight [out, in] as n32; groups that keep fewer than `n` get zeros."""
    out, in_ = weight.shape
    numbers, kept = weight.tolist(), mask.tolist()
    values: list[float] = []
    words: list[int] = []
    for row0 in range(0, out, ROWS):
        for column0 in range(0, in_, N32_COLUMNS):
            for h in range(2):
                of_lanes = []
                for lane in range(LANES):
                    row, first = row0 + lane // 4 + 8 * h, column0 + 32 * (lane % 4)
                    group = range(first, first + 32)
                    held = [row < out and k < in_ and kept[row][k] for k in group]
                    free = [j for j in range(32) if not held[j]]
                    assert sum(held) <= n, f"a group keeps {sum(held)}, more than {n}"
                    full = set(free[: n - sum(held)])
                    chosen = [j for j in range(32) if held[j] or j in full]
                    words.append(sum(1 << j for j in chosen))
                    of_lanes.append([numbers[row][first + j] if held[j] else 0.0 for j in chosen])
                for pair in range(0, n, 2):
                    for lane_values in of_lanes:
                        values += lane_values[pair : pair + 2]
    return Lanes(_values(values, weight.dtype), _words(words), _words([]), 0, n)


def _values(numbers: list[float], dtype: torch.dtype) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32).to(dtype)


def _words(numbers: list[int]) -> Tensor:
    signed = [number - 2**32 if number >= 2**31 else number for number in numbers]
    return torch.tensor(signed, dtype=torch.int32)
