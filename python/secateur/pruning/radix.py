"""The last of the k highest scores, whatever their distribution: a radix select over their bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_DIGIT_BITS = 16
_BINS = 1 << _DIGIT_BITS


def last_kept(pieces: Callable[[], Iterator[Tensor]], kept: int) -> tuple[int, int]:
    """Return the key of the last score kept, and how many scores with that key are kept.

    One pass per 16-bit digit counts scores into 65 536 bins: two for float32, four for float64.

    Args:
        pieces: yields all scores, flat, a piece at a time, the same ones at every call.
        kept: how many to keep, 1 to the number of scores.
    """
    # The top digit is signed; so is every prefix built on it.
    histogram, bits = torch.zeros(_BINS, dtype=torch.int64), 0
    for piece in pieces():
        keys = ordered_bits(piece)
        bits = 8 * keys.element_size()
        histogram += _count((keys >> (bits - _DIGIT_BITS)) + _BINS // 2)
        del piece  # or its layer would be held while the next is made
    digit, remaining = _last_bin(histogram, kept)
    prefix = digit - _BINS // 2
    for shift in range(bits - 2 * _DIGIT_BITS, -1, -_DIGIT_BITS):
        histogram.zero_()
        for piece in pieces():
            keys = ordered_bits(piece)
            keys = keys[keys >> (shift + _DIGIT_BITS) == prefix]
            histogram += _count((keys >> shift) & (_BINS - 1))
            del piece
        digit, remaining = _last_bin(histogram, remaining)
        prefix = prefix << _DIGIT_BITS | digit
    return prefix, remaining


def ordered_bits(scores: Tensor) -> Tensor:
    """Return signed integers that compare as the floats do; -0.0 and 0.0 are one."""
    dtype = torch.int64 if scores.dtype == torch.float64 else torch.int32
    bits = (scores + 0.0).view(dtype)
    # A negative float's magnitude grows with its bits, so those bits are turned over.
    return bits ^ ((bits >> (8 * bits.element_size() - 1)) & torch.iinfo(dtype).max)


def _count(digits: Tensor) -> Tensor:
    return torch.bincount(digits, minlength=_BINS).cpu()


def _last_bin(histogram: Tensor, kept: int) -> tuple[int, int]:
    """Return the bin of the last of the `kept` highest, and how many of those fall into it."""
    from_here_up = histogram.flip(0).cumsum(0).flip(0)
    last = int((from_here_up >= kept).sum()) - 1
    return last, kept - int(from_here_up[last] - histogram[last])
