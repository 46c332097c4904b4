"""Builds the libraries of CUDA kernels where out of date. Other test processes wait for it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def emulated(root: Path = ROOT, folder: Path = ROOT / "build" / "emu", ops: str = "*") -> Path:
    """Return the path of `_emu.so`, built from `root`.

    Args:
        root: a tree of sources; a copy, to build a changed kernel.
        folder: where it is built; what is up to date there is kept.
        ops: the one op whose kernels are in it; "*": all of them.
    """
    return _build(root, folder, ["-DSECATEUR_EMULATE=ON", f"-DSECATEUR_CUDA_OPS={ops}"], "_emu")


def compiled() -> Path:
    """Return the path of `_C_cuda.so`, which nvcc has built for all architectures."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not here")
    flags = ["-DSECATEUR_CUDA=ON", f"-DPython_EXECUTABLE={sys.executable}"]
    return _build(ROOT, ROOT / "build" / "cuda", flags, "_C_cuda")


def objects() -> dict[str, Path]:
    """Return what nvcc made of each kernel file: name of the kernel -> object file."""
    folder = compiled().parent / "CMakeFiles" / "_C_cuda.dir" / "csrc" / "cuda"
    files = sorted((ROOT / "csrc" / "cuda").glob("*/*.cu"))
    return {
        f"{file.parent.name}_{file.stem}": folder / file.parent.name / f"{file.name}.o"
        for file in files
    }


def _build(root: Path, folder: Path, flags: list[str], target: str) -> Path:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for tool in ("cmake", "c++"):
        if shutil.which(tool, path=path) is None:
            pytest.skip(f"{tool} is not here")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (
            ["cmake", "-G", "Ninja", "-S", str(root), "-B", str(folder), *flags],
            ["cmake", "--build", str(folder), "--target", target],
        ):
            done = subprocess.run(
                command, env={**os.environ, "PATH": path}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
    return folder / f"{target}.so"
