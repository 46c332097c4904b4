"""Timing two functions against each other on a machine that is not quiet."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import perf_counter

import torch

ROUNDS = 5  # at least
MOST_ROUNDS = 25
CALLS = 40  # of each function in a round, at most
CLEAR = 0.03  # a ratio settled to this fraction is believed


def compare(
    dense: Callable[[], object],
    sparse: Callable[[], object],
    *,
    threshold: float,
    budget_s: float = 0.25,
    device: torch.device | None = None,
) -> tuple[float, float]:
    """Return the milliseconds of a call of `dense` and of `sparse`.

    Calls alternate, so that a disturbance meets both; a round's figures are its medians. Of the
    calmer half of the rounds, those whose two figures have the least sums, the one of the median
    ratio is the result: one round alone may be disturbed in one figure. Rounds go on while their
    ratios scatter around the threshold.

    Args:
        dense: one candidate.
        sparse: the other.
        threshold: dense over sparse from which sparse is taken.
        budget_s: seconds to spend beyond the least number of rounds.
        device: to wait for after each call.
    """
    functions = (dense, sparse)
    for function in functions:
        _time(function, device)
    estimate = sum(min(_time(f, device) for _ in range(3)) for f in functions)
    calls = max(1, min(CALLS, int(budget_s / ROUNDS / max(estimate, 1e-7))))
    medians: list[tuple[float, float]] = []
    started = perf_counter()
    while len(medians) < ROUNDS or (
        len(medians) < MOST_ROUNDS
        and perf_counter() - started < 2 * budget_s
        and not _settled(medians, threshold)
    ):
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(calls):
            for kept, function in zip(times, functions, strict=True):
                kept.append(_time(function, device))
        medians.append((statistics.median(times[0]), statistics.median(times[1])))
    calmer = sorted(medians, key=sum)[: (len(medians) + 1) // 2]
    dense_s, sparse_s = sorted(calmer, key=lambda round: round[0] / round[1])[len(calmer) // 2]
    return dense_s * 1e3, sparse_s * 1e3


def page_faults(function: Callable[[], object], calls: int = 3) -> int:
    """Return the least number of pages that a call of `function` had mapped anew; 0 if unknown.

    An allocator that gives memory back to the system and takes it again at every call adds a third
    to the time of ResNet-50, or nothing, by what the process did before.
    """
    try:
        import resource
    except ImportError:
        return 0
    counts = []
    for _ in range(calls):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        function()
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(counts)


def _settled(medians: list[tuple[float, float]], threshold: float) -> bool:
    """Whether more rounds would change nothing: ratios agree, or all are on one side by far."""
    ratios = [dense / sparse for dense, sparse in medians]
    if max(ratios) - min(ratios) < CLEAR * min(ratios):
        return True
    return min(ratios) > threshold * 1.15 or max(ratios) < threshold / 1.15


def _time(function: Callable[[], object], device: torch.device | None) -> float:
    start = perf_counter()
    function()
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - start
