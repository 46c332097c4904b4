"""Runs interpreted/ in a process of its own: triton is imported for the interpreter, or not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytest.importorskip("triton", reason="triton is not installed")


def interpret(selection: str, **environment: str) -> None:
    """Raise unless the tests under interpreted/ that `selection` marks pass."""
    # What numpy warns of, infinity minus infinity, is what some tests are about.
    command = [sys.executable, "-m", "pytest", "-q", "-W", "ignore::RuntimeWarning"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-m", selection, "tests/triton/interpreted"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout, done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kernels_in_the_interpreter() -> None:
    interpret("not verify")


@pytest.mark.verify
@pytest.mark.timeout(1800)
def test_the_longer_ones_too() -> None:
    interpret("verify", SECATEUR_CUDA_VERIFY="1")
