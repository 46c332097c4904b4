"""The only sort of the package: which scores are among the highest, exact in number.

Among equal scores the lowest index is kept. Nothing here knows what a score means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Scores = Callable[[], Tensor]
"""Computes one layer's scores, float32 or float64, the same ones at every call."""

_DIGIT_BITS = 16
_BINS = 1 << _DIGIT_BITS


def kept_count(n: int, sparsity: float) -> int:
    """Return how many of `n` survive: n - round(sparsity * n), where round takes halves to even.

    It is the count of torch.nn.utils.prune for the same fraction.
    """
    return n - round(sparsity * n)


def keep_per_row(scores: Tensor, kept: int) -> Tensor:
    """Mark the `kept` highest scores of every row.

    Args:
        scores: floating, [rows, n], without NaN.
        kept: how many to keep in each row, 0 to n.

    Returns:
        bool, [rows, n], with exactly `kept` true in each row.
    """
    keep = torch.zeros_like(scores, dtype=torch.bool)
    return keep.scatter_(1, ranking(scores)[:, :kept], True)


def ranking(scores: Tensor) -> Tensor:
    """Return the indices of each row from its highest score to its lowest, int64 [rows, n].

    Among equal scores the lowest index comes first.
    """
    return torch.sort(scores, dim=1, descending=True, stable=True).indices


def keep_across(layers: Sequence[Scores], sparsity: float) -> list[Tensor]:
    """Mark the highest scores of all layers together, without ever joining the layers.

    A radix select over the bit pattern of the floats: one pass per 16-bit digit counts scores into
    65 536 bins, and one last pass marks. It holds one layer's scores at a time beside the result.

    Args:
        layers: one function per layer; each is called three times for float32, five for float64.
            All must give the same dtype, without NaN. Layers are indexed in this order.
        sparsity: fraction not to mark, in [0, 1).

    Returns:
        bool masks shaped like the scores; of the n scores in all, `kept_count(n, sparsity)` are
        marked.
    """
    threshold, ties = _threshold(layers, sparsity)
    keep = []
    for layer in layers:
        keys = _ordered_bits(layer())
        mask = (keys > threshold).contiguous()
        equal = (keys == threshold).flatten().nonzero().flatten()[:ties]
        mask.view(-1)[equal] = True
        ties -= len(equal)
        keep.append(mask)
    return keep


def _threshold(layers: Sequence[Scores], sparsity: float) -> tuple[int, int]:
    """Return the key of the last score kept, and how many scores with that key are kept."""
    histogram, bits = torch.zeros(_BINS, dtype=torch.int64), 0
    for layer in layers:
        keys = _ordered_bits(layer()).flatten()
        bits = 8 * keys.element_size()
        # The top digit is signed; so is every prefix built on it.
        histogram += _count((keys >> (bits - _DIGIT_BITS)) + _BINS // 2)
    remaining = kept_count(int(histogram.sum()), sparsity)
    digit, remaining = _last_bin(histogram, remaining)
    prefix = digit - _BINS // 2
    for shift in range(bits - 2 * _DIGIT_BITS, -1, -_DIGIT_BITS):
        histogram.zero_()
        for layer in layers:
            keys = _ordered_bits(layer()).flatten()
            keys = keys[keys >> (shift + _DIGIT_BITS) == prefix]
            histogram += _count((keys >> shift) & (_BINS - 1))
        digit, remaining = _last_bin(histogram, remaining)
        prefix = prefix << _DIGIT_BITS | digit
    return prefix, remaining


def _count(digits: Tensor) -> Tensor:
    return torch.bincount(digits, minlength=_BINS).cpu()


def _last_bin(histogram: Tensor, kept: int) -> tuple[int, int]:
    """Return the bin of the last of the `kept` highest, and how many of those fall into it."""
    from_here_up = histogram.flip(0).cumsum(0).flip(0)
    last = int((from_here_up >= kept).sum()) - 1
    return last, kept - int(from_here_up[last] - histogram[last])


def _ordered_bits(scores: Tensor) -> Tensor:
    """Return signed integers that compare as the floats do; -0.0 and 0.0 are one."""
    dtype = torch.int64 if scores.dtype == torch.float64 else torch.int32
    bits = (scores + 0.0).view(dtype)
    # A negative float's magnitude grows with its bits, so those bits are turned over.
    return bits ^ ((bits >> (8 * bits.element_size() - 1)) & torch.iinfo(dtype).max)
