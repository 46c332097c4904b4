"""Rounds of a search for the order of columns under which N:M keeps most. No random numbers here.

Columns stand in groups of M that follow each other. One round takes one column out of every group
and hands them out again in the best of all ways. That is an assignment problem, solved exactly:
what a group keeps with a column c in the empty place is `certain` + the sum over rows of
max(`rival`, c), where per row `certain` adds up the N - 1 largest of the columns that stay and
`rival` is the next. Pool and Yu ("Channel Permutations for N:M Sparsity", NeurIPS 2021) instead
try all partitions of two groups at a time; a round here moves through all groups at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from secateur.ops._library import define, found

LARGEST_SCORE = 2**20 - 1
"""Scores are integers up to this one: sums are then exact, and the same on every machine."""
ROW_MULTIPLE = 16
LARGEST_M = 16

_SCHEMA = "(Tensor columns, Tensor order, Tensor picks, int n, int patience) -> (Tensor, Tensor)"


def nm_regroup(
    columns: Tensor, order: Tensor, picks: Tensor, *, n: int, patience: int
) -> tuple[Tensor, Tensor]:
    """Return the order after some rounds, and what each of its groups keeps.

    No round loses: the sum of what is kept grows or stays. The result depends on the arguments
    alone, not on the machine.

    Args:
        columns: [columns, rows], int32, scores from 0 to `LARGEST_SCORE`; rows are a multiple of
            `ROW_MULTIPLE` (rows of zeros change nothing).
        order: [groups * m], int64: the column at each position. It may name some columns only.
        picks: [rounds, groups], int64, 0 to m - 1: the place that each group empties in each
            round. The number of groups, and so m, is read from it; m is at most `LARGEST_M`.
        n: columns kept per row of each group, 1 to m - 1.
        patience: ends after so many rounds in a row that gained nothing.

    Returns:
        order, [groups * m], int64, and kept, [groups], int64: the sums over the rows of the n
        largest scores of each group.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if anything else does not fit; the message names the argument.
    """
    check(columns, order, picks, n)
    result: tuple[Tensor, Tensor] = found("nm_regroup")(columns, order, picks, n, patience)
    return result


def check(columns: Tensor, order: Tensor, picks: Tensor, n: int) -> None:
    """Check dtypes and shapes; the only place that does.

    Raises:
        TypeError: on a wrong dtype.
        ValueError: on anything else.
    """
    wanted = {"columns": torch.int32, "order": torch.int64, "picks": torch.int64}
    given = {"columns": columns, "order": order, "picks": picks}
    for name, tensor in given.items():
        if tensor.dtype != wanted[name]:
            raise TypeError(f"nm_regroup: {name} must be {wanted[name]}, got {tensor.dtype}")
    if columns.dim() != 2 or order.dim() != 1 or picks.dim() != 2:
        raise ValueError(
            "nm_regroup: columns must be [columns, rows], order [positions] and picks "
            f"[rounds, groups], got {[list(t.shape) for t in given.values()]}"
        )
    if columns.shape[1] % ROW_MULTIPLE:
        raise ValueError(
            f"nm_regroup: columns must have a multiple of {ROW_MULTIPLE} rows, got "
            f"{columns.shape[1]}; fill them up with zeros"
        )
    groups = picks.shape[1]
    if not groups or len(order) % groups:
        raise ValueError(
            f"nm_regroup: {groups} groups (columns of picks) cannot share {len(order)} positions"
        )
    m = len(order) // groups
    if not 1 <= n < m <= LARGEST_M:
        raise ValueError(
            f"nm_regroup: n kept of m needs 1 <= n < m <= {LARGEST_M}, got n={n} and m={m}"
        )


def _check_values(columns: Tensor, order: Tensor, picks: Tensor) -> None:
    m = len(order) // picks.shape[1]
    _check_range("order", order, len(columns))
    _check_range("picks", picks, m)
    _check_range("columns", columns[order], LARGEST_SCORE + 1)


def _check_range(name: str, tensor: Tensor, end: int) -> None:
    if tensor.numel() and not 0 <= int(tensor.min()) <= int(tensor.max()) < end:
        raise ValueError(
            f"nm_regroup: {name} must lie in 0 to {end - 1}, got {int(tensor.min())} to "
            f"{int(tensor.max())}"
        )


def _reference(
    columns: Tensor, order: Tensor, picks: Tensor, n: int, patience: int
) -> tuple[Tensor, Tensor]:
    check(columns, order, picks, n)
    _check_values(columns, order, picks)
    order, idle = order.clone(), 0
    groups = picks.shape[1]
    m = len(order) // groups
    for pick in picks:
        if idle >= patience:
            break
        places = torch.arange(groups, device=order.device) * m + pick
        value = _values(columns, order.view(groups, m), pick, n)
        best = torch.from_numpy(assign(value.cpu().numpy())).to(order.device)
        gained = value.gather(1, best[:, None]).sum() > value.diagonal().sum()
        if gained:
            order[places] = order[places[best]]
        idle = 0 if gained else idle + 1
    return order, _kept(columns, order.view(groups, m), n)


def _kept(columns: Tensor, grouped: Tensor, n: int) -> Tensor:
    """Return the sum of the n largest scores of every row of each group, [groups]."""
    return columns[grouped].topk(n, 1).values.sum((1, 2))


def _values(columns: Tensor, grouped: Tensor, pick: Tensor, n: int) -> Tensor:
    """Return what each group keeps with the picked column of each, [groups, groups]."""
    taken = grouped.gather(1, pick[:, None])  # [groups, 1]
    places = torch.arange(grouped.shape[1], device=pick.device)
    stay = grouped[places != pick[:, None]].view(len(grouped), -1)
    best = columns[stay].topk(n, 1).values  # [groups, n, rows]
    certain, rival = best[:, : n - 1].sum((1, 2)), best[:, n - 1]
    offered = columns[taken[:, 0]]
    # A row of the result at a time: all at once would take groups * groups * rows integers.
    won = torch.stack([torch.maximum(r, offered).sum(1) for r in rival])
    return certain[:, None] + won


def assign(value: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the column of each row in the assignment of the largest total value, [n].

    The Hungarian method by shortest augmenting paths (Jonker and Volgenant, Computing 1987), in
    integers; among columns equally near, the lowest is taken.

    Args:
        value: [n, n].
    """
    n, far, none = len(value), 2**60, -1
    row_price, price = np.zeros(n, np.int64), np.zeros(n, np.int64)
    row_of, come_from = np.full(n, none), np.full(n, none)
    for row in range(n):
        distance, free = np.full(n, far), np.ones(n, bool)
        reached, before, so_far = row, none, 0
        while True:
            through = so_far - row_price[reached] - value[reached] - price
            better = free & (through < distance)
            distance[better], come_from[better] = through[better], before
            column = int(np.where(free, distance, far).argmin())
            so_far = int(distance[column])
            if row_of[column] == none:
                break
            free[column] = False
            reached, before = row_of[column], column
        row_price[row] += so_far
        saved = so_far - distance[~free]
        row_price[row_of[~free]] += saved
        price[~free] -= saved
        while come_from[column] != none:
            row_of[column] = row_of[come_from[column]]
            column = come_from[column]
        row_of[column] = row
    return row_of.argsort()


def _fake(
    columns: Tensor, order: Tensor, picks: Tensor, n: int, patience: int
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(order), order.new_empty(picks.shape[1])


define("nm_regroup", _SCHEMA, _reference, _fake)
define("nm_regroup_reference", _SCHEMA, _reference, _fake)
