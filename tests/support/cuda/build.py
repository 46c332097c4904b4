"""Builds the emulated library where it is out of date. Other test processes wait for it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def emulated(root: Path = ROOT, folder: Path = ROOT / "build" / "emu") -> Path:
    """Return the path of `_emu.so`, built from `root`.

    Args:
        root: a tree of sources; a copy, to build a changed kernel.
        folder: where it is built; what is up to date there is kept.
    """
    return _build(root, folder, "-DSECATEUR_EMULATE=ON", "_emu")


def _build(root: Path, folder: Path, flag: str, target: str) -> Path:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for tool in ("cmake", "c++"):
        if shutil.which(tool, path=path) is None:
            pytest.skip(f"{tool} is not here")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (
            ["cmake", "-G", "Ninja", "-S", str(root), "-B", str(folder), flag],
            ["cmake", "--build", str(folder), "--target", target],
        ):
            done = subprocess.run(
                command, env={**os.environ, "PATH": path}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
    return folder / f"{target}.so"
