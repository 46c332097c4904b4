"""Timing on a GPU: by its own events, with the L2 cache emptied before every call."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

WARM_UP = 5
CALLS = 30
_FLUSH_BYTES = 256 * 2**20  # larger than any L2


def seconds(function: Callable[[], object], device: torch.device, calls: int = CALLS) -> float:
    """Return the median seconds of a call of `function`, of those that it spends on the device.

    Args:
        function: queues work on the device's current stream.
        device: a CUDA device.
        calls: that are timed.
    """
    flush = torch.empty(_FLUSH_BYTES, dtype=torch.int8, device=device)
    with torch.cuda.device(device):
        for _ in range(WARM_UP):
            function()
        pairs = []
        for _ in range(calls):
            flush.zero_()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            function()
            end.record()
            pairs.append((start, end))
        torch.cuda.synchronize(device)
        return 1e-3 * statistics.median([float(a.elapsed_time(b)) for a, b in pairs])
