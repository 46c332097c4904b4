"""What stays in memory. Sizes are tens of MB: pages and Python's own objects do not count then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import resident
from benchmarks.cases import Case
from benchmarks.memory import LAYERS, Saving, lines

ROOT = Path(__file__).parents[2]
MB = 1 << 20

try:
    resident.peak_extra(lambda: None)
    _REASON = ""
except resident.Unknown as reason:
    _REASON = str(reason)

needs_linux = pytest.mark.skipif(bool(_REASON), reason=_REASON)
CONVERT = """
import torch
from benchmarks import memory
from benchmarks.cases import Case
torch.set_num_threads(1)
for pattern, sparsity in (("csr", 0.8), ("2:4", 0.5)):
    case = Case(2048, 4096, 1, pattern, sparsity)
    memory.convert(case, 1)  # what is imported or built once is not the layers'
    saving = memory.convert(case, 3)
    print(saving.asked, saving.got)
    assert not saving.missed, "\\n".join(memory.lines([saving]))
    assert saving.got < saving.asked + memory.SLACK * saving.dense
"""


@needs_linux
def test_the_peak_of_a_call_is_seen_after_its_memory_is_freed() -> None:
    def call() -> None:
        torch.ones(32 * MB // 4)

    def larger() -> torch.Tensor:
        call()
        return torch.ones(64 * MB // 4)

    # Linux counts pages in batches, so the last few may be missing.
    assert 31 * MB < resident.peak_extra(call) < 40 * MB
    assert 63 * MB < resident.peak_extra(larger) < 72 * MB
    assert resident.peak_extra(lambda: None) < 4 * MB


@needs_linux
@pytest.mark.unpoisoned  # filling each allocation would make all of it resident
def test_a_converted_stack_holds_its_packed_weights_and_nothing_of_the_dense() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONVERT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_more_in_memory_than_the_packed_weights_is_a_miss() -> None:
    case = Case(4096, 11008, 1, "csr", 0.5)
    kept = Saving(case, dense=1000 * MB, packed=600 * MB, got=100 * MB)
    freed = Saving(case, dense=1000 * MB, packed=600 * MB, got=395 * MB)
    assert (kept.missed, freed.missed) == (True, False)
    assert [line.endswith("miss") for line in lines([kept, freed])] == [False, True, False]
    assert LAYERS > 1
