"""What nvcc made of the kernels: registers and shared memory within the table, and nothing spilled.

resources.csv is that table; `python -m tests.support.cuda.cubins` prints it as it is now.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.support.cuda import cubins
from tests.support.cuda.cubins import Resources
from tests.support.cuda.emulator import Emulator

TABLE = Path(__file__).with_name("resources.csv")

pytestmark = [pytest.mark.verify, pytest.mark.timeout(1200)]


def test_every_function_keeps_its_budget() -> None:
    with TABLE.open(newline="") as lines:
        budget = {
            (row["kernel"], row["function"], int(row["sm"])): row for row in csv.DictReader(lines)
        }
    used = {(found.kernel, found.function, found.sm): found for found in cubins.resources()}
    assert used.keys() == budget.keys(), "python -m tests.support.cuda.cubins > resources.csv"
    over = [found for key, found in used.items() if not _within(found, budget[key])]
    assert not over


def _within(found: Resources, budget: dict[str, str]) -> bool:
    return (
        found.registers <= int(budget["registers"])
        and found.stack_bytes <= int(budget["stack_bytes"])
        and found.static_shared_bytes <= int(budget["static_shared_bytes"])
    )


def test_nothing_is_kept_on_the_stack() -> None:
    spilled = [found for found in cubins.resources() if found.stack_bytes]
    assert not spilled


def test_a_block_fits_where_its_kernel_runs(emulator: Emulator) -> None:
    for kernel in emulator.kernels():
        homes = [sm for sm in cubins.SHARED_LIMIT if sm >= kernel.min_sm]
        assert any(kernel.shared_bytes <= cubins.SHARED_LIMIT[sm] * 1024 for sm in homes), kernel
