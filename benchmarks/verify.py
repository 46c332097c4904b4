"""Runs the kernels' own tests before anything is timed: a speed of a wrong answer is no speed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KERNELS = "tests/kernels/test_cpu_kernels.py"
TESTS = {
    "linear": (KERNELS, "tests/kernels/test_types.py", "tests/kernels/test_edge_input.py"),
    "conv": ("tests/kernels/test_conv_kernels.py",),
    "nets": ("tests/kernels/test_conv_kernels.py", "tests/planning/test_fuse_convs.py"),
    "mlp": ("tests/kernels/test_mlp_kernels.py",),
    "pack": ("tests/formats",),
    "memory": (KERNELS, "tests/kernels/test_conv_kernels.py"),
    "pruning": ("tests/pruning/test_select.py", "tests/pruning/test_bits.py"),
    "permutation": (
        "tests/kernels/test_regroup_kernels.py",
        "tests/planning/test_permute_search.py",
    ),
}
"""What must pass before a benchmark, named as on the command line, may print a speed."""


@dataclass(frozen=True)
class Verdict:
    """Whether the tests passed, and what to tell the reader."""

    green: bool
    summary: str


def verify(tests: Sequence[str], root: Path = ROOT, *, but: str = "") -> Verdict:
    """Run the tests below `root` with pytest and judge the outcome.

    `but` is a word: what has it in its name will not be timed, and is not tested.

    Tests that are missing, that were not collected or that could not run are as bad as tests
    that fail: nothing then says that the kernels are right.
    """
    missing = [name for name in tests if not (root / name).exists()]
    if missing:
        return Verdict(False, f"no tests at {', '.join(missing)} (below {root})")
    if importlib.util.find_spec("pytest") is None:
        return Verdict(False, "pytest is not installed: pip install 'secateur[dev]'")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    if but:
        command += ["-k", f"not {but}"]
    if importlib.util.find_spec("xdist") is not None:
        command += ["-n", str(min(os.cpu_count() or 1, 8))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["no output"]
    if done.returncode == 0:
        return Verdict(True, lines[-1])
    return Verdict(False, f"pytest ended with {done.returncode}:\n" + "\n".join(lines[-25:]))
