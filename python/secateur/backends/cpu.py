"""The CPU kernel table: what there is, what this machine runs, which one a problem gets."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from secateur import _extension


@dataclass(frozen=True)
class Kernel:
    """One compiled kernel.

    Args:
        op: the op it belongs to, for example ``"csr_linear"``.
        name: ``<op>_<file>``, for example ``"csr_linear_avx512_row"``.
        isa: instruction set it was compiled for.
        runnable: whether this machine (under the cap ``SECATEUR_ISA``) can run it.
    """

    op: str
    name: str
    isa: str
    runnable: bool


def kernels() -> list[Kernel]:
    """Return every kernel of the extension; empty without one."""
    if not _extension.load():
        return []
    lines = _text("secateur_kernels")().decode().splitlines()
    fields = [line.split() for line in lines]
    return [Kernel(op, name, isa, runs == "1") for op, name, isa, runs in fields]


def isa() -> str:
    """Return the instruction set in use: "avx512", "avx2", "neon", "portable", or "reference"."""
    return _text("secateur_isa")().decode() if _extension.load() else "reference"


def machine() -> int:
    """Return the stamp that verdicts timed here carry: CPU model and instruction set."""
    if not _extension.load():
        return 0
    function = _extension.library().secateur_machine
    function.restype = ctypes.c_uint32
    return int(function())


def pick(op: str, index: Tensor, rows: int, *, plain: bool = True) -> str:
    """Return the name of the kernel that `op` runs for this packed weight and row count.

    Args:
        op: for example ``"csr_linear"``.
        index: the packed weight's index, on the CPU.
        rows: rows of x after flattening.
        plain: whether x and the values are float32.

    Returns:
        The kernel's name; ``"reference"`` where there is none, or no extension.

    Raises:
        ValueError: if the extension has no such op.
    """
    if not _extension.load():
        return "reference"
    header = ctypes.c_void_p(index.data_ptr())
    name = _text("secateur_pick")(op.encode(), header, ctypes.c_int64(rows), int(plain)).decode()
    if not name:
        raise ValueError(f"op must be one of {sorted({k.op for k in kernels()})}, got {op!r}")
    return name


@contextlib.contextmanager
def forced(name: str) -> Iterator[None]:
    """Run the kernel called `name` wherever it can run the problem; for tests and benchmarks.

    Process-wide, so not for threads.

    Raises:
        ValueError: if there is no such kernel or this machine cannot run it.
    """
    force = _extension.library().secateur_force
    force.argtypes = [ctypes.c_char_p]
    if not force(name.encode()):
        known = [kernel.name for kernel in kernels() if kernel.runnable]
        raise ValueError(f"name must be a kernel this machine runs, one of {known}, got {name!r}")
    try:
        yield
    finally:
        force(b"")


def _text(symbol: str) -> Callable[..., bytes]:
    function = getattr(_extension.library(), symbol)
    function.restype = ctypes.c_char_p
    return cast("Callable[..., bytes]", function)
