"""Probes what one core can do at best, in the run that is judged by it. Judging is bounds.py's.

The loops are in probe.cpp, compiled here once with the system's compiler and kept under
build/benchmarks. Without a compiler, or on a processor it has no loops for, there is no roofline,
and reports then print no share of a bound.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Caches, caches

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(__file__).with_name("probe.cpp")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-O2", "-std=c++17", "-shared", "-fPIC")

_ISAS = {1: ("avx2", 8), 2: ("avx512", 16)}
_ITERATIONS = 200_000
# Samples of a third of a millisecond, spread over tens: on a shared machine a few are undisturbed.
_REPEATS = 100
_DRAM_BYTES = 256 << 20


class Unavailable(Exception):
    """Why there is no roofline here."""


@dataclass(frozen=True)
class Roofline:
    """Ceilings of all the threads in use together.

    Args:
        isa: instruction set of the figures.
        width: floats in one of its vectors.
        threads: how many threads ran the probes at once.
        fma: FLOP/s from registers.
        operand: FLOP/s when every FMA reads a vector from L1.
        tile: FLOP/s of the tile kernel's loop with its weight and index loads.
        read: bytes/s of streaming reads from "L2", "L3" and "DRAM".
        caches: bytes of one core's caches.
    """

    isa: str
    width: int
    threads: int
    fma: float
    operand: float
    tile: float
    read: Mapping[str, float]
    caches: Caches

    @property
    def loads(self) -> float:
        """Vector loads per second, as the L1-operand probe did them: one load per FMA."""
        return self.operand / (2 * self.width)

    def __str__(self) -> str:
        reads = ", ".join(f"{name} {rate / 1e9:.1f}" for name, rate in self.read.items())
        return (
            f"roofline ({self.isa}, threads: {self.threads}): FMA {self.fma / 1e9:.1f} GF/s, "
            f"L1 operand {self.operand / 1e9:.1f}, tile loop {self.tile / 1e9:.1f}; "
            f"read GB/s: {reads}"
        )


def probe(threads: int = 1) -> Roofline:
    """Measure the ceilings with `threads` threads running the same loop at once.

    Of AVX2 and AVX-512 the one with the higher L1-operand rate is taken; within 5 % it is AVX2,
    whose narrow loads (weights, indices) do not cost a wide slot.

    Raises:
        Unavailable: without a compiler or without loops for this processor.
    """
    library = _load(build())
    mask = library.isa_mask()
    if not mask:
        raise Unavailable("the probe has loops for x86 with AVX2 and FMA only")
    rates = {
        isa: _peak(library.operand_rate, threads, isa, _ITERATIONS) for isa in _ISAS if mask & isa
    }
    isa = 2 if rates.get(2, 0.0) > 1.05 * rates.get(1, 0.0) else 1
    name, width = _ISAS[isa]
    sizes = caches()
    return Roofline(
        isa=name,
        width=width,
        threads=threads,
        fma=_peak(library.fma_rate, threads, isa, _ITERATIONS),
        operand=rates[isa],
        tile=_peak(library.tile_rate, threads, isa, _ITERATIONS),
        read=_read_rates(library, threads, mask, sizes),
        caches=sizes,
    )


def build(directory: Path | None = None) -> Path:
    """Compile the probe, unless the same source was compiled by the same compiler before.

    Returns:
        The shared library.

    Raises:
        Unavailable: without a compiler, or when it fails.
    """
    compiler = find_compiler()
    directory = directory or ROOT / "build" / "benchmarks"
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    stamp = hashlib.sha256(SOURCE.read_bytes() + version + repr(FLAGS).encode()).hexdigest()[:16]
    library = directory / f"probe-{stamp}.so"
    if library.exists():
        return library
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        fresh = Path(scratch) / library.name
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(fresh)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"{compiler} could not compile the probe: {done.stderr[-500:]}")
        fresh.replace(library)
    return library


def find_compiler() -> str:
    """Return the C++ compiler: the variable CXX, else the first of the usual names.

    Raises:
        Unavailable: if there is none.
    """
    for name in (os.environ.get("CXX"), *COMPILERS):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise Unavailable(f"no C++ compiler found (looked for $CXX, {', '.join(COMPILERS)})")


def _load(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise Unavailable(f"the probe does not load: {error}") from error
    if library.isa_mask():
        for name in ("fma_rate", "operand_rate", "tile_rate"):
            getattr(library, name).restype = ctypes.c_double
            getattr(library, name).argtypes = [ctypes.c_int, ctypes.c_int64]
        library.read_rate.restype = ctypes.c_double
        library.read_rate.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return library


def _read_rates(library: ctypes.CDLL, threads: int, mask: int, sizes: Caches) -> dict[str, float]:
    """Return bytes/s by level, for the better of the instruction sets.

    Buffers are chosen to fit one level and not the one before it; ctypes lets go of Python's
    lock during the call, so several threads really read at once.
    """
    spaces = {
        "L2": (max(2 * sizes.l1, sizes.l2 // 2), 40),
        "L3": (max(2 * sizes.l2, sizes.l3 // 8), 40),
        "DRAM": (min(max(_DRAM_BYTES, 4 * sizes.l3), 1 << 30) // threads, 12),
    }
    rates = {}
    for level, (size, passes) in spaces.items():
        size = size // 256 * 256
        rates[level] = max(
            _together(library.read_rate, threads, isa, size, passes) for isa in _ISAS if mask & isa
        )
    return rates


def _peak(function: Callable[..., float], threads: int, *arguments: int) -> float:
    return max(_together(function, threads, *arguments) for _ in range(_REPEATS))


def _together(function: Callable[..., float], threads: int, *arguments: int) -> float:
    """Return the sum of what `threads` threads reach at the same time."""
    if threads == 1:
        return function(*arguments)
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda _: function(*arguments), range(threads)))
