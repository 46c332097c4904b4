"""Faults put into a kernel on purpose: its tests must see each of them.

tests/cuda/mutations/<kernel>.py holds `MUTATIONS`, a list of these; tests/cuda/test_<kernel>.py is
what has to fail, the quick part of it, or what speaks of the kernel in tests/cuda/test_<op>.py. A
family of kernels with tests in common has one such file, named as the tests are, with `BUILT`: the
kernels that a fault in what they share is compiled into.

A faulty library is those object files compiled anew, linked with all the others of `build/emu`.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
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


def run_tests(
    kernel: str, mutation: Mutation | None, built: Collection[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a kernel's tests on a library with the fault in it.

    Args:
        kernel: whose tests, test_<kernel>.py.
        mutation: the fault; None for none.
        built: names of the kernels that it is compiled into; empty for this one alone. Tests of a
            family find them in SECATEUR_FAULTY, and leave the others out.
    """
    library = build.emulated()
    with tempfile.TemporaryDirectory() as folder:
        if mutation is not None:
            units = [_source(name) for name in built or (kernel,)]
            library = _faulty(units, mutation, library.parent, Path(folder))
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *_tests(kernel)],
            env={
                **os.environ,
                "SECATEUR_EMULATED": str(library),
                "SECATEUR_FAULTY": ",".join(built),
                "SECATEUR_CUDA_VERIFY": "0",
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
        )


def _faulty(units: Sequence[Path], mutation: Mutation, built: Path, folder: Path) -> Path:
    """Return the path of a library with the fault; the rest of it lies in `built`."""
    changed = CUDA / mutation.file if mutation.file else units[0]
    text = changed.read_text()
    assert text.count(mutation.old) == 1, f"{changed}: not once in it: {mutation.old!r}"
    copy = folder / changed.relative_to(ROOT)
    copy.parent.mkdir(parents=True)
    copy.write_text(text.replace(mutation.old, mutation.new))
    whole = changed.suffix in (".cu", ".cpp")  # else a header of the units
    entries = json.loads((built / "compile_commands.json").read_text())
    mine = [e for e in entries if Path(e["file"]) in ([changed] if whole else units)]
    steps, objects = [], []
    for entry in mine:
        command, objects = shlex.split(entry["command"]), [*objects, f"faulty{len(objects)}.o"]
        command[command.index("-o") + 1] = objects[-1]
        command[command.index(entry["file"])] = str(copy) if whole else entry["file"]
        command.insert(1, f"-I{folder / 'csrc'}")
        steps.append(command)
    # First in the line, so that their copy of a header's function is the one that is kept.
    others = [str(built / entry["output"]) for entry in entries if entry not in mine]
    steps.append([steps[0][0], "-shared", "-o", "_emu.so", *objects, *others])
    for step in steps:
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
