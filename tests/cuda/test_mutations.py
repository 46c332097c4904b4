"""Seeded faults: each kernel's own tests see every fault of mutations/<kernel>.py."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.support.cuda.mutate import Mutation, run_tests

FILES = sorted(Path(__file__).with_name("mutations").glob("*.py"))
FAULTS = [
    pytest.param(file.stem, mutation, id=f"{file.stem}: {mutation.fault}")
    for file in FILES
    for mutation in runpy.run_path(str(file))["MUTATIONS"]
]

pytestmark = [pytest.mark.verify, pytest.mark.timeout(600)]


@pytest.mark.parametrize("kernel", [file.stem for file in FILES])
def test_without_a_fault_the_tests_pass(kernel: str) -> None:
    done = run_tests(kernel, None)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("kernel", "mutation"), FAULTS)
def test_a_seeded_fault_is_caught(kernel: str, mutation: Mutation) -> None:
    done = run_tests(kernel, mutation)
    assert done.returncode == 1, f"the tests pass with: {mutation.fault}\n{done.stdout}"
