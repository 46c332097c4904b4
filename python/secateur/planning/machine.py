"""Which machine verdicts were measured on: a number to compare, and words to show."""

from __future__ import annotations

import functools
import platform
import zlib
from pathlib import Path

from secateur import _extension
from secateur.backends import cpu


@functools.cache
def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe() -> str:
    """Return processor, instruction set, and whether compiled kernels are there."""
    kernels = f"kernels {cpu.isa()}" if _extension.load() else "no compiled kernels"
    return f"{processor()}, {kernels}"


def stamp() -> int:
    """Return an unsigned 32-bit number that is the same on machines alike, never 0.

    With compiled kernels it is theirs: they compare it with the one in a packed header.
    """
    return cpu.machine() or zlib.crc32(describe().encode()) or 1
