"""Faults put into a kernel on purpose: its tests must see each of them.

tests/cuda/mutations/<kernel>.py holds `MUTATIONS`, a list of these; tests/cuda/test_<kernel>.py is
what has to fail, the quick part of it; or what speaks of the kernel in tests/cuda/test_<op>.py. A
family of kernels with tests in common has one such file, named as the tests are, with `BUILT`: the
kernels that the tests are run on.

A faulty library is the object with the fault, compiled anew, and all the others of `build/emu`.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Collection
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
        file: under csrc/cuda; the kernel's own if empty. With a fault in a header, the kernel's
            file is compiled, or those of its family, and nothing else.
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
        kernel: whose tests.
        mutation: the fault; None for none.
        built: names of the only kernels in the library, of a family with tests and parts in common;
            empty for all. Tests of a family find them in SECATEUR_FAULTY, and leave the others
            out: a kernel that is not there would fail them too.
    """
    library = build.emulated()
    with tempfile.TemporaryDirectory() as folder:
        if mutation is not None:
            library = _faulty(kernel, mutation, built, library.parent, Path(folder))
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *_tests(kernel)],
            env={
                **os.environ,
                "SECATEUR_EMULATED": str(library),
                "SECATEUR_CUDA_VERIFY": "0",
                "SECATEUR_FAULTY": ",".join(built),
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
        )


def _faulty(
    kernel: str, mutation: Mutation, built: Collection[str], base: Path, folder: Path
) -> Path:
    """Return the path of a library with the fault; the rest of it lies in `base`."""
    changed = CUDA / mutation.file if mutation.file else _source(kernel)
    text = changed.read_text()
    assert text.count(mutation.old) == 1, f"{changed}: not once in it: {mutation.old!r}"
    copy = folder / changed.relative_to(ROOT)
    copy.parent.mkdir(parents=True)
    copy.write_text(text.replace(mutation.old, mutation.new))
    commands = json.loads((base / "compile_commands.json").read_text())
    units = {Path(unit["file"]): unit for unit in commands}
    again = [changed] if changed in units else [_source(name) for name in built or (kernel,)]
    if built:
        (folder / "tables").mkdir()
        table = "".join(f"KERNEL({name})\n" for name in built)
        (folder / "tables" / "cuda_kernels.inc").write_text(table)
        again.append(CUDA / "abi.cpp")
    # First in the line, so that their copies of a header's function are those that are kept.
    objects = [
        _compiled(units[unit], copy if unit == changed else unit, folder / f"{number}.o", folder)
        for number, unit in enumerate(again)
    ]
    for path, unit in units.items():
        if path not in again and (path.suffix != ".cu" or not built or _name(path) in built):
            objects.append(str(base / unit["output"]))
    _done([shlex.split(commands[0]["command"])[0], "-shared", "-o", "_emu.so", *objects], folder)
    return folder / "_emu.so"


def _compiled(unit: dict[str, str], source: Path, target: Path, folder: Path) -> str:
    """Compile as `unit` was, from another source; what lies in `folder` goes before the tree."""
    command = shlex.split(unit["command"])
    command[command.index("-o") + 1] = str(target)
    command[command.index(unit["file"])] = str(source)
    command[1:1] = [f"-I{folder / 'csrc'}", f"-I{folder / 'tables'}"]
    _done(command, folder)
    return str(target)


def _done(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _tests(kernel: str) -> list[str]:
    folder = ROOT / "tests" / "cuda"
    own = folder / f"test_{kernel}.py"
    if own.exists():
        return [str(own)]
    return [str(folder / f"test_{_source(kernel).parent.name}.py"), "-k", kernel]


def _source(kernel: str) -> Path:
    return next(path for path in CUDA.glob("*/*.cu") if _name(path) == kernel)


def _name(source: Path) -> str:
    return f"{source.parent.name}_{source.stem}"
