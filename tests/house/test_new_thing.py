"""A new thing adds one file and edits none: worked examples, each done in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CRITERION = '''
"""Weights matter by their share of the row: score = |w| / sum over the row of |w|."""

from torch import Tensor

from secateur.pruning.criteria import CRITERIA, Evidence


@CRITERIA.register("share")
class Share:
    """The share a weight has in the absolute sum of its row; an empty row scores zero."""

    name = "share"
    needs: frozenset[str] = frozenset()

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return shares, [out, in]."""
        size = weight.abs()
        return size / size.sum(dim=1, keepdim=True).clamp_min(1e-30)
'''

# An editable installation finds `secateur` before PYTHONPATH does; the copy must win.
IN_THE_COPY = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in type(f).__module__]
import secateur
assert secateur.__file__.startswith(sys.argv.pop(1)), secateur.__file__
"""
LIST_CRITERIA = "import secateur.pruning.criteria as c; print(c.CRITERIA.names())"
LIST_KERNELS = "from secateur.backends import cpu; print([k.name for k in cpu.kernels()])"
RUN_TESTS = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
CONTRACTS = ("tests/contracts", "tests/kernels")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the project as it is, without what is built."""
    copy = tmp_path / "tree"
    built = shutil.ignore_patterns(".*", "build", "out", "__pycache__", "*.so")
    shutil.copytree(ROOT, copy, ignore=built)
    return copy


def fingerprint(tree: Path) -> dict[str, bytes]:
    files = (p for p in tree.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(tree)): p.read_bytes() for p in files}


def python(tree: Path, code: str, *arguments: str) -> str:
    own = {name: value for name, value in os.environ.items() if name != "SECATEUR_EXTENSION"}
    done = subprocess.run(
        [sys.executable, "-c", IN_THE_COPY + code, str(tree), *arguments],
        cwd=tree,
        env={**own, "PYTHONPATH": str(tree / "python"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def passed(output: str) -> int:
    found = re.search(r"(\d+) passed", output)
    return int(found[1]) if found else 0


def contract_tests(tree: Path, name: str) -> str:
    return python(tree, RUN_TESTS, "-p", "no:cacheprovider", "-q", "-k", name, *CONTRACTS)


def test_a_criterion_is_one_file(tree: Path) -> None:
    before = fingerprint(tree)
    path = tree / "python" / "secateur" / "pruning" / "criteria" / "share.py"
    path.write_text(CRITERION.lstrip())

    assert "share" in python(tree, LIST_CRITERIA)
    assert passed(contract_tests(tree, "share")) > 0, "no contract test ran the new criterion"
    unknown = "import torch; secateur.prune(torch.nn.Linear(4, 4), 0.5, criterion='?')"
    listed = python(tree, f"try:\n    {unknown}\nexcept ValueError as error:\n    print(error)")
    assert "share" in listed
    assert fingerprint(tree).items() >= before.items(), "adding a criterion edited other files"


def leave_only_portable_kernels_of(room: Path) -> None:
    """Remove other kernels, and other ops' bindings: with them a build takes minutes."""
    for kernel in room.parent.glob("*/*.cpp"):
        if kernel.parent != room or not kernel.stem.startswith("portable"):
            kernel.unlink()
    for binding in (room.parents[1] / "bind").glob("cpu_*.cpp"):
        if binding.stem != f"cpu_{room.name}":
            binding.unlink()


def build(tree: Path) -> None:
    """Compile the extension of the copy, and put it beside its __init__.py."""
    target = tree.parent / "build"
    flags = ["-DSECATEUR_OPTIMIZE=-O1", f"-DPython_EXECUTABLE={sys.executable}"]
    for command in (
        ["cmake", "-G", "Ninja", "-S", str(tree), "-B", str(target), *flags],
        ["cmake", "--build", str(target), "--target", "_C"],
    ):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    shutil.copy(target / "_C.so", tree / "python" / "secateur")


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler here"
)
def test_a_kernel_is_one_file(tree: Path) -> None:
    room = tree / "csrc" / "cpu" / "csr_linear"
    leave_only_portable_kernels_of(room)
    before = fingerprint(tree)
    shutil.copy(room / "portable.cpp", room / "portable_twin.cpp")
    build(tree)

    name = "csr_linear_portable_twin"
    assert name in python(tree, LIST_KERNELS)
    assert passed(contract_tests(tree, name)) > 0, "no contract test ran the new kernel by name"
    assert fingerprint(tree).items() >= before.items(), "adding a kernel edited other files"


def test_a_file_of_an_unknown_instruction_set_is_refused_by_name(tree: Path) -> None:
    (tree / "csrc" / "cpu" / "csr_linear" / "mmx.cpp").touch()
    with pytest.raises(AssertionError, match=r"(?s)mmx\.cpp.*no\s+instruction\s+set"):
        build(tree)
