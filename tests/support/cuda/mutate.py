"""Faults put into a kernel on purpose: its tests must see each of them.

tests/cuda/mutations/<kernel>.py holds `MUTATIONS`, a list of these; tests/cuda/test_<kernel>.py is
what has to fail, the quick part of it, or what speaks of the kernel in tests/cuda/test_<op>.py. A
family of kernels with tests in common has one such file, named as the tests are, with `BUILT`: the
kernels that the tests are run on.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tests.support.cuda import build

ROOT = build.ROOT
FOLDER = ROOT / "build" / "mutated"


@dataclass(frozen=True)
class Mutation:
    """One fault.

    Args:
        fault: what it is, in words.
        old: text that occurs once in the file.
        new: what stands there instead.
        file: under csrc/cuda; the kernel's own if empty.
    """

    fault: str
    old: str
    new: str
    file: str = ""


def run_tests(
    kernel: str, mutation: Mutation | None, built: Collection[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a kernel's tests on a build with the fault in it.

    Args:
        kernel: whose tests, test_<kernel>.py.
        mutation: the fault; None for none.
        built: names of the kernels in the build; empty for this one alone.
    """
    tree = FOLDER / "tree"
    _copy(ROOT / "CMakeLists.txt", tree / "CMakeLists.txt")
    for path in (ROOT / "csrc").rglob("*"):
        copy = tree / path.relative_to(ROOT)
        if path.suffix == ".cu" and _name(path) not in (built or (kernel,)):
            copy.unlink(missing_ok=True)
        elif path.is_file():
            _copy(path, copy)
    if mutation is not None:
        file = mutation.file or str(_source(kernel).relative_to(ROOT / "csrc" / "cuda"))
        path = tree / "csrc" / "cuda" / file
        text = path.read_text()
        assert text.count(mutation.old) == 1, f"{file}: not once in it: {mutation.old!r}"
        path.write_text(text.replace(mutation.old, mutation.new))
    library = build.emulated(tree, FOLDER / "emu")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *_tests(kernel)],
        env={**os.environ, "SECATEUR_EMULATED": str(library), "SECATEUR_CUDA_VERIFY": "0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def _tests(kernel: str) -> list[str]:
    folder = ROOT / "tests" / "cuda"
    own = folder / f"test_{kernel}.py"
    if own.exists():
        return [str(own)]
    return [str(folder / f"test_{_source(kernel).parent.name}.py"), "-k", kernel]


def _source(kernel: str) -> Path:
    sources = (ROOT / "csrc" / "cuda").glob("*/*.cu")
    return next(path for path in sources if _name(path) == kernel)


def _name(source: Path) -> str:
    return f"{source.parent.name}_{source.stem}"


def _copy(source: Path, target: Path) -> None:
    """Copy what differs, so that only that is compiled again."""
    if target.exists() and filecmp.cmp(source, target, shallow=False):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
