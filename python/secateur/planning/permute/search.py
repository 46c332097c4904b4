"""The search for an order of columns under which N:M keeps most. It knows nothing of models.

Iterated local search (Lourenço, Martin and Stützle 2003): rounds of `ops.nm_regroup` until they
gain little, then kicks: two columns change places with two others inside a few groups, rounds
follow, and the groups stay so if they keep no less. Kicks are the bounded regressions of Pool and
Yu (NeurIPS 2021, section 4), who alternate them with partitions of two groups at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.ops.nm_regroup import LARGEST_M, LARGEST_SCORE, ROW_MULTIPLE
from secateur.ops.nm_regroup import nm_regroup as regroup

Note = Callable[[float], None]
"""Told from time to time which share of the work is done."""

KICKS = 200
TOGETHER = 16  # groups that a kick and its rounds look at
CHUNK = 8  # rounds between two looks at what was gained
SETTLED = 0.01  # of all that was gained: a chunk that gains less ends the first phase
PATIENCE = 10  # rounds in a row without a gain, after which a kick has been followed up
LONGEST = 64  # rounds after a kick, at most
SWAPS = 2


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        order: [columns], int64: the column that goes to each position.
        before: sum of the scores that N:M keeps in the order given.
        after: in `order`; never less.
        bound: if every row kept the share N / M of its columns wherever they are.
    """

    order: Tensor
    before: float
    after: float
    bound: float

    @property
    def efficacy(self) -> float:
        """Gain over the greatest gain imaginable, 0 to 1 (Pool and Yu); 0 where there is none."""
        room = self.bound - self.before
        return (self.after - self.before) / room if room > 0 else 0.0

    @property
    def moved(self) -> bool:
        """Whether `order` is another than the one given."""
        return not torch.equal(self.order, torch.arange(len(self.order)))


def search(
    scores: Tensor,
    n: int,
    m: int,
    *,
    kicks: int = KICKS,
    generator: torch.Generator | None = None,
    note: Note | None = None,
) -> Found:
    """Return an order of the columns of `scores` under which N:M keeps more of them.

    Scores are rounded to 20 bits between the least and the largest; sums of those are exact, so
    the result depends on the arguments alone, not on the machine.

    Args:
        scores: [rows, columns], floating, finite; columns a multiple of m.
        n: kept in each row of each group.
        m: columns in a group.
        kicks: how many; 0 stops after the first phase. Where there are hundreds of groups the
            first phase finds nearly all there is.
        generator: on the CPU; None means torch's default one.
        note: see `Note`.

    Raises:
        ValueError: if the columns do not divide, or a score is not finite.
    """
    rows, width = scores.shape
    if width % m or not 1 <= n <= m:
        raise ValueError(f"scores: wanted columns in groups of {m}, got {width} columns")
    order = torch.arange(width)
    before, bound = kept(scores, order, n, m), row_bound(scores, n, m)
    if n == m or width == m or not rows or m > LARGEST_M:
        return Found(order, before, before, bound)
    work = _Work(as_columns(scores), n, m, generator, note)
    found = work.kick(work.settle(order), kicks)
    after = kept(scores, found, n, m)
    # The rounding of the scores may hide that nothing was gained.
    return (
        Found(found, before, after, bound)
        if after > before
        else Found(order, before, before, bound)
    )


def as_columns(scores: Tensor) -> Tensor:
    """Return scores [rows, columns] as `ops.nm_regroup` reads them: [columns, rows], integers.

    Raises:
        ValueError: if a score is not finite.
    """
    low, high = (float(t) for t in torch.aminmax(scores))
    if not (low > -torch.inf and high < torch.inf):
        raise ValueError("scores: wanted finite numbers, got NaN or inf")
    rows, width = scores.shape
    columns = torch.zeros(width, -(-rows // ROW_MULTIPLE) * ROW_MULTIPLE, dtype=torch.int32)
    if high > low:
        scale = LARGEST_SCORE / (high - low)
        columns[:, :rows] = (
            ((scores.T.float().cpu() - low) * scale).round_().clamp_(0, LARGEST_SCORE)
        )
    return columns


def kept(scores: Tensor, order: Tensor, n: int, m: int) -> float:
    """Return the sum of what N:M keeps of the scores, [rows, columns], in this order."""
    groups = scores[:, order.to(scores.device)].unflatten(1, (-1, m))
    return float(groups.topk(n, 2).values.sum(dtype=torch.float64))


def row_bound(scores: Tensor, n: int, m: int) -> float:
    """Return the sum if every row kept the share n / m of its columns wherever they are."""
    width = scores.shape[1]
    return float(scores.topk(width * n // m, 1).values.sum(dtype=torch.float64))


class _Work:
    """One search: the columns, and where random numbers come from."""

    def __init__(
        self, columns: Tensor, n: int, m: int, generator: torch.Generator | None, note: Note | None
    ) -> None:
        self.columns, self.n, self.m = columns, n, m
        self.generator = generator
        self.note = note or (lambda share: None)

    def settle(self, order: Tensor) -> Tensor:
        """Run rounds over all groups until they gain little."""
        groups = len(order) // self.m
        order, at_first = self._rounds(order, 0, groups)
        last, total = at_first, at_first
        while True:
            order, total = self._rounds(order, CHUNK, groups)
            self.note(0.0)
            if total - last <= SETTLED * (total - at_first):
                return order
            last = total

    def kick(self, order: Tensor, kicks: int) -> Tensor:
        """Kick some groups, follow it up, and keep what is no worse."""
        groups = len(order) // self.m
        together = min(groups, TOGETHER)
        grouped = order.view(groups, self.m).clone()
        for i in range(kicks):
            chosen = torch.randperm(groups, generator=self.generator)[:together]
            part = grouped[chosen].flatten()
            # Zero rounds only add up; where all groups take part, that is known already.
            _, now = self._rounds(part, 0, together)
            places = torch.randperm(len(part), generator=self.generator)[: 2 * SWAPS]
            kicked = part.clone()
            kicked[places] = part[places.roll(SWAPS)]
            kicked, then = self._rounds(kicked, LONGEST, together)
            if then >= now:
                grouped[chosen] = kicked.view(together, self.m)
            self.note(i / kicks)
        return grouped.flatten()

    def _rounds(self, order: Tensor, rounds: int, groups: int) -> tuple[Tensor, int]:
        picks = torch.randint(self.m, (rounds, groups), generator=self.generator)
        order, sums = regroup(self.columns, order, picks, n=self.n, patience=PATIENCE)
        return order, int(sums.sum())
