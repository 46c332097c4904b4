"""Faults put into a kernel on purpose: its tests must see each of them.

tests/cuda/mutations/<kernel>.py holds `MUTATIONS`, a list of these; tests/cuda/test_<kernel>.py is
what has to fail, or what speaks of the kernel in tests/cuda/test_<op>.py.

A faulty library is one object file compiled anew and linked with all the others of `build/emu`.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.cuda import build

ROOT = build.ROOT
CUDA = ROOT / "csrc" / "cuda"


@dataclass(frozen=True)
class Mutation:
    """One fault.

    Args:
        fault: what it is, in words.
        old: text that occurs once in the file.
        new: what stands there instead.
        file: under csrc/cuda; the kernel's own if empty. Of a header the kernel's file is compiled
            with the fault, and nothing else.
    """

    fault: str
    old: str
    new: str
    file: str = ""


def run_tests(kernel: str, mutation: Mutation | None) -> subprocess.CompletedProcess[str]:
    """Run a kernel's tests on a library with the fault in it."""
    library = build.emulated()
    with tempfile.TemporaryDirectory() as folder:
        if mutation is not None:
            library = _faulty(kernel, mutation, library.parent, Path(folder))
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *_tests(kernel)],
            env={**os.environ, "SECATEUR_EMULATED": str(library)},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )


def _faulty(kernel: str, mutation: Mutation, built: Path, folder: Path) -> Path:
    """Return the path of a library with the fault; the rest of it lies in `built`."""
    changed = CUDA / mutation.file if mutation.file else _source(kernel)
    text = changed.read_text()
    assert text.count(mutation.old) == 1, f"{changed}: not once in it: {mutation.old!r}"
    copy = folder / changed.relative_to(ROOT)
    copy.parent.mkdir(parents=True)
    copy.write_text(text.replace(mutation.old, mutation.new))
    unit = changed if changed.suffix in (".cu", ".cpp") else _source(kernel)
    entries = json.loads((built / "compile_commands.json").read_text())
    mine = next(entry for entry in entries if Path(entry["file"]) == unit)
    command = shlex.split(mine["command"])
    command[command.index("-o") + 1] = "faulty.o"
    command[command.index(str(unit))] = str(copy if unit == changed else unit)
    command.insert(1, f"-I{folder / 'csrc'}")
    # First in the line, so that its copy of a header's function is the one that is kept.
    others = [str(built / entry["output"]) for entry in entries if entry is not mine]
    for step in (command, [command[0], "-shared", "-o", "_emu.so", "faulty.o", *others]):
        done = subprocess.run(step, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "_emu.so"


def _tests(kernel: str) -> list[str]:
    folder = ROOT / "tests" / "cuda"
    own = folder / f"test_{kernel}.py"
    if own.exists():
        return [str(own)]
    return [str(folder / f"test_{_source(kernel).parent.name}.py"), "-k", kernel]


def _source(kernel: str) -> Path:
    return next(p for p in CUDA.glob("*/*.cu") if f"{p.parent.name}_{p.stem}" == kernel)
