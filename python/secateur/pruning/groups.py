"""N of every M: the highest of small groups, by counting who beats whom instead of sorting.

The same count is compiled in csrc/cpu/groups.h, for the sizes that kernels of sparse layers use.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from secateur import _extension
from secateur.pruning.select import keep_per_row, piece_size

_MOST = 32
"""Groups above this size are selected from as rows are."""


def keep_in_groups(scores: Tensor, n: int) -> Tensor:
    """Mark the `n` highest scores of every group; among equal ones the lowest index.

    Args:
        scores: floating, [groups, M], without NaN.
        n: how many to keep in each group, 0 to M.

    Returns:
        bool, [groups, M], with exactly `n` true in each group.
    """
    groups, m = scores.shape
    if m > _MOST or m < 2 or scores.device.type != "cpu":
        return keep_per_row(scores, n)
    keep = torch.empty(scores.shape, dtype=torch.bool)
    if _marked_by_kernel(scores.detach(), n, keep):
        return keep
    rows = max(1, piece_size(scores.device) // m)
    duel = _Duel(min(groups, rows), m, scores.dtype)
    for part, out in zip(scores.split(rows), keep.split(rows), strict=True):
        duel.mark(part.reshape(-1), n, out.view(-1).view(torch.uint8))
    return keep


def _marked_by_kernel(scores: Tensor, n: int, keep: Tensor) -> bool:
    """Write the mask into `keep`; say whether there is a kernel that does this."""
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    arguments = (pointer, ctypes.c_int64, integer, integer, pointer)
    kernel = _extension.function("secateur_keep_in_groups", integer, *arguments)
    if kernel is None or scores.dtype != torch.float32:
        return False
    groups, m = scores.shape
    scores = scores.contiguous()
    return bool(kernel(scores.data_ptr(), groups, m, n, keep.data_ptr()))


class _Duel:
    """Buffers for groups of one size, used over and over.

    Args:
        groups: at most, in one call.
        m: scores in a group.
        dtype: of the scores.
    """

    def __init__(self, groups: int, m: int, dtype: torch.dtype) -> None:
        self._m = m
        place = torch.arange(m, dtype=torch.uint8).repeat(groups)
        self._place = place
        self._inside = [(place < m - d).view(torch.uint8) for d in range(m)]
        self._left = torch.empty(groups * m, dtype=dtype)
        self._won = torch.empty(groups * m, dtype=torch.bool)

    def mark(self, scores: Tensor, n: int, out: Tensor) -> None:
        """Write 1 where a score is among the n highest of its group, else 0.

        A score at place p beats those after it that are not higher, and of those before it all
        but the ones that beat it: p to begin with, less each that does.

        Args:
            scores: flat, group after group.
            n: how many to keep.
            out: uint8, as long as `scores`.
        """
        length = len(scores)
        out.copy_(self._place[:length])
        for d in range(1, self._m):
            left, won = self._left[: length - d], self._won[: length - d]
            # A comparison in place is vectorised, one that makes a bool is not.
            won.copy_(left.copy_(scores[:-d]).ge_(scores[d:]))
            beats = won.view(torch.uint8).bitwise_and_(self._inside[d][: length - d])
            out[:-d] += beats
            out[d:] -= beats
        # The top bit of a byte is set from 128 on, that is, with M - n wins or more.
        out.add_(128 - (self._m - n)).bitwise_right_shift_(7)
