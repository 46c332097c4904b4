"""The best choice of N in every row and every column of an M x M tile, for many tiles at once.

It is a maximum-weight b-matching of rows with columns. Where the choices are few all are tried;
else greedy choices, mended, are improved along cycles until none improves them, which is the
optimum (Klein 1967, cycle cancelling for minimum-cost flow).
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from secateur.pruning.select import ranking

_ENUMERATED = 4  # 90 choices for 2 of 4; 2 of 5 have 2040 already.
_CHUNK = {True: 1 << 19, False: 1 << 21}  # Elements of the largest temporary, by `few`.


def best_tiles(scores: Tensor, n: int) -> Tensor:
    """Return which entries of each tile to keep so that the scores kept have the largest sum.

    Entries of -inf are kept only where there is no other way, whatever the rest loses by it; of
    +inf as many as possible are. Sums are compared in float64, and where a choice by cycles is
    within rounding of the optimum it stays.

    Args:
        scores: floating, [tiles, M, M], without NaN.
        n: how many to keep in each row and each column, 0 to M.

    Returns:
        bool, [tiles, M, M], with exactly n true in each row and each column.
    """
    m = scores.shape[-1]
    few = m <= _ENUMERATED
    choices = _all_choices(n, m).to(scores.device) if few else None
    chunk = max(1, _CHUNK[few] // (len(choices) if choices is not None else m**3))
    best = torch.empty(scores.shape, dtype=torch.bool, device=scores.device)
    for part, out in zip(scores.split(chunk), best.split(chunk), strict=True):
        finite = _finite(part.double())
        out.copy_(_by_cycles(finite, n) if choices is None else _by_trying(finite, choices))
    return best


def _finite(scores: Tensor) -> Tensor:
    """Return the scores with infinities so large that sums rank as the docstring above says."""
    infinite = scores.isinf()
    if not bool(infinite.any()):
        return scores
    entries = scores[0].numel()
    most = scores.masked_fill(infinite, 0.0).abs().amax((1, 2), keepdim=True)
    more = 3 * entries * most.where(most > 0, 1.0)  # than all finite ones can make a difference
    scores = torch.where(scores == math.inf, more, scores)
    return torch.where(scores == -math.inf, -(entries + 1) * more, scores)


def _all_choices(n: int, m: int) -> Tensor:
    """Return every choice, float64 [choices, M * M]; the lower the indices, the earlier."""
    rows = [[float(i in kept) for i in range(m)] for kept in itertools.combinations(range(m), n)]
    found = [c for c in itertools.product(rows, repeat=m) if all(sum(k) == n for k in zip(*c))]  # noqa: B905  (rows are m long)
    return torch.tensor(found, dtype=torch.float64).reshape(len(found), m * m)


def _by_trying(scores: Tensor, choices: Tensor) -> Tensor:
    best = (scores.flatten(1) @ choices.T).argmax(1)
    return choices.bool()[best].view(scores.shape)


def _by_cycles(tiles: Tensor, n: int) -> Tensor:
    # The tiles are the last dimension from here on, so that every step is one over all of them.
    scores = tiles.permute(1, 2, 0).contiguous()
    mask = _greedy(scores, n)
    m = len(scores)
    # A gain is a sum of at most 4 M scores, and no gain if it is less than their rounding.
    least = 4 * m * torch.finfo(scores.dtype).eps * scores.abs().amax((0, 1))
    going = torch.arange(len(tiles), device=scores.device)
    while len(going):
        ours, kept, small = scores[..., going], mask[..., going], least[going]
        improved = _improve_(ours, kept, small, 2)
        stuck = (~improved).nonzero().flatten()
        stuck = stuck[_has_cycle(ours[..., stuck], kept[..., stuck], small[stuck])]
        if len(stuck):
            part = kept[..., stuck]
            improved[stuck] = _improve_(ours[..., stuck], part, small[stuck], m)
            kept[..., stuck] = part
        mask[..., going] = kept
        going = going[improved]
    return mask.permute(2, 0, 1)


def _greedy(scores: Tensor, n: int) -> Tensor:
    """Return a choice made from the highest score down, and mended where that left gaps.

    Args:
        scores: finite, [M, M, tiles].
        n: as in `best_tiles`.

    Returns:
        bool, [M, M, tiles].
    """
    m, _, tiles = scores.shape
    order = ranking(scores.reshape(m * m, tiles).T).T.contiguous()
    mask = torch.zeros(m * m, tiles, dtype=torch.bool, device=scores.device)
    rows = torch.full((m, tiles), n, device=scores.device)
    columns = rows.clone()
    for entry in order.split(1):
        row, column = entry // m, entry % m
        free = (rows.gather(0, row) > 0) & (columns.gather(0, column) > 0)
        mask.scatter_(0, entry, free)
        rows.scatter_add_(0, row, -free.long())
        columns.scatter_add_(0, column, -free.long())
    mask = mask.view(scores.shape)
    _mend_(scores, mask, rows, columns)
    return mask


def _mend_(scores: Tensor, mask: Tensor, rows: Tensor, columns: Tensor) -> None:
    """Fill rows and columns that lack entries, in place; `rows` and `columns` say how many.

    Row i and column j lack one, and (i, j) is taken. Some kept (k, l) gives way to (i, l) and
    (k, j): there is one, because a full column l has more entries than column j.
    """
    m = len(scores)
    while len(gaps := rows.sum(0).nonzero().flatten()):
        i, j = (rows[:, gaps] > 0).byte().argmax(0), (columns[:, gaps] > 0).byte().argmax(0)
        ours, kept = scores[..., gaps], mask[..., gaps]
        at = torch.arange(len(gaps), device=scores.device)
        row, column = (i, slice(None), at), (slice(None), j, at)
        gain = ours[row].T[None] + ours[column][:, None] - ours
        fits = kept & ~kept[row].T[None] & ~kept[column][:, None]
        best = gain.masked_fill(~fits, -math.inf).view(m * m, -1).argmax(0)
        untaken = ~kept[i, j, at]
        k, other = torch.where(untaken, i, best // m), torch.where(untaken, j, best % m)
        mask[k, other, gaps] = False
        mask[i, other, gaps] = True
        mask[k, j, gaps] = True
        rows[i, gaps] -= 1
        columns[j, gaps] -= 1


def _ends(scores: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return what an entry costs where it leaves, and what it is worth where it may come."""
    return scores.masked_fill(~mask, math.inf), scores.masked_fill(mask, -math.inf)


def _moves(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the best gain of moving one entry from row u to row v of its column, [u, v, tiles].

    It is -inf where there is no such move.
    """
    leave, come = _ends(scores, mask)
    best = torch.full_like(scores, -math.inf)
    gain = torch.empty_like(best)
    for column in range(len(scores)):
        torch.sub(come[None, :, column], leave[:, None, column], out=gain)
        torch.maximum(best, gain, out=best)
    return best


def _further(walk: Tensor, gain: Tensor) -> Tensor:
    """Return the best gain of walks one move longer, [from, to, tiles]."""
    best = torch.full_like(walk, -math.inf)
    longer = torch.empty_like(walk)
    for over in range(len(walk)):
        torch.add(walk[:, over, None], gain[None, over], out=longer)
        torch.maximum(best, longer, out=best)
    return best


def _has_cycle(scores: Tensor, mask: Tensor, least: Tensor) -> Tensor:
    """Return, for each tile, whether moves around some cycle of rows gain more than `least`."""
    gain = _moves(scores, mask)
    for row in range(len(scores)):
        gain = torch.maximum(gain, gain[:, row, None] + gain[None, row])
    return gain.diagonal().amax(1) > least


def _improve_(scores: Tensor, mask: Tensor, least: Tensor, longest: int) -> Tensor:
    """Move entries around the shortest gaining cycle of each tile, in place; say where.

    Of the closed walks that gain, the shortest visits no row twice: else one of its parts would
    be a shorter one that gains. But where each part gains less than `least`, and both together
    more, a row may be visited twice; such a tile is left as it was.
    """
    before = mask.clone()
    gain = _moves(scores, mask)
    leave, come = _ends(scores, mask)
    walks = [gain]
    improved = torch.zeros(scores.shape[-1], dtype=torch.bool, device=scores.device)
    while len(walks) < longest and not bool(improved.all()):
        walks.append(_further(walks[-1], gain))
        best, start = walks[-1].diagonal().max(1)
        tiles = ((best > least) & ~improved).nonzero().flatten()
        improved[tiles] = True
        start = start[tiles]
        to = start
        for walk in reversed(walks[:-1]):
            row = (walk[start, :, tiles] + gain[:, to, tiles].T).argmax(1)
            _move_(mask, leave, come, (tiles, row, to))
            to = row
        _move_(mask, leave, come, (tiles, start, to))
    uneven = (mask.sum(0) != before.sum(0)).any(0) | (mask.sum(1) != before.sum(1)).any(0)
    mask[..., uneven] = before[..., uneven]
    return improved & ~uneven


def _move_(mask: Tensor, leave: Tensor, come: Tensor, at: tuple[Tensor, Tensor, Tensor]) -> None:
    """Move the entry that gains most from one row to another; `at` is tiles, rows, rows."""
    tiles, row, to = at
    column = (come[to, :, tiles] - leave[row, :, tiles]).argmax(1)
    mask[row, column, tiles] = False
    mask[to, column, tiles] = True
