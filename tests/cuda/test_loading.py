"""The library of CUDA kernels, as it is loaded: only beside libtorch_cuda, and with every op."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.cuda import build

pytestmark = pytest.mark.verify

CPU_ONLY = torch.version.cuda is None

LOAD = """
import sys, torch
from secateur.backends.cuda import _library
torch.ops.load_library(sys.argv[1])
for name in sys.argv[2].split(","):
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"secateur::{name}", "CUDA"), name
"""


def ops() -> list[str]:
    """The ops that csrc/bind registers for CUDA."""
    text = "".join(path.read_text() for path in (build.ROOT / "csrc" / "bind").glob("cuda_*.cpp"))
    return sorted(part.split('"')[1] for part in text.split("m.impl(")[1:])


def loaded(libraries: Path | None) -> subprocess.CompletedProcess[str]:
    """Load the library in a process of its own, where `libraries` are found."""
    path = {} if libraries is None else {"LD_LIBRARY_PATH": str(libraries)}
    return subprocess.run(
        [sys.executable, "-c", LOAD, str(build.compiled()), ",".join(ops())],
        env={**os.environ, **path},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(not CPU_ONLY, reason="this torch has CUDA: no stand-in is built")
def test_every_op_is_there_once_libtorch_cuda_is() -> None:
    assert len(ops()) >= 6
    done = loaded(build.compiled().parent)  # its stand-in
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not CPU_ONLY, reason="this torch has CUDA: the library loads")
def test_without_libtorch_cuda_it_does_not_load() -> None:
    done = loaded(None)
    assert done.returncode != 0
    assert "libtorch_cuda.so" in done.stderr, done.stderr
