"""The C functions of csrc/cuda/abi.h, of either library: which kernels there are, running one."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kernel:
    """A line of the kernel table; csrc/cuda/kernel.h says what the fields mean."""

    op: str
    name: str
    min_sm: int
    types: tuple[str, ...]
    layout: str
    threads: int
    shared_bytes: int
    stages: int
    tile_out: int
    tile_rows: int
    tile_in: int
    args_bytes: int


class Library:
    """A loaded `_C_cuda` or `_emu`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.c = ctypes.CDLL(str(path))
        args = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64]
        for name, returns, takes in (
            ("kernels", ctypes.c_char_p, []),
            ("refusal", ctypes.c_char_p, args),
            ("workspace", ctypes.c_int64, args),
            ("run", ctypes.c_int, [*args, ctypes.c_void_p]),
        ):
            function = getattr(self.c, f"secateur_cuda_{name}")
            function.restype, function.argtypes = returns, takes

    def kernels(self) -> list[Kernel]:
        """Return the kernel table."""
        found = []
        for line in self.c.secateur_cuda_kernels().decode().splitlines():
            op, name, min_sm, types, layout, *numbers = line.split()
            found.append(
                Kernel(op, name, int(min_sm), tuple(types.split(",")), layout, *map(int, numbers))
            )
        return found

    def kernel(self, name: str) -> Kernel:
        """Return the line of one kernel."""
        return next(kernel for kernel in self.kernels() if kernel.name == name)

    def refusal(self, name: str, args: ctypes.Structure) -> str:
        """Return why the kernel cannot run this, or an empty string."""
        text: bytes = self.c.secateur_cuda_refusal(name.encode(), *_passed(args))
        return text.decode()

    def workspace(self, name: str, args: ctypes.Structure) -> int:
        """Return the bytes of workspace the kernel wants."""
        return int(self.c.secateur_cuda_workspace(name.encode(), *_passed(args)))

    def run(self, name: str, args: ctypes.Structure, stream: int = 0) -> int:
        """Run; return CUDA's error code."""
        return int(self.c.secateur_cuda_run(name.encode(), *_passed(args), stream))


def _passed(args: ctypes.Structure) -> tuple[object, int]:
    return ctypes.byref(args), ctypes.sizeof(args)
