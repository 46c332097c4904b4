"""Memory of this process as Linux counts it: resident now, and the peak of one call."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets VmHWM to what is resident now


class Unknown(Exception):
    """Why memory cannot be told here."""


def resident() -> int:
    """Return the resident bytes, after everything freed was given back to the system.

    Raises:
        Unknown: if the system is not Linux with glibc.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        raise Unknown("malloc_trim is missing, so freed memory cannot be told from memory in use")
    trim(0)
    return _field("VmRSS")


def peak_extra(call: Callable[[], object]) -> int:
    """Return how many bytes more than before were resident at the worst moment of `call`.

    Its result is counted; what it made lives until the count is taken.

    Raises:
        Unknown: if the system does not say.
    """
    before = resident()
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError as error:
        raise Unknown(f"{_CLEAR} cannot be written: {error}") from error
    result = call()
    peak = _field("VmHWM")
    del result
    return peak - before


def _field(name: str) -> int:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError as error:
        raise Unknown(f"{_STATUS} cannot be read: {error}") from error
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise Unknown(f"{_STATUS} has no {name}")
