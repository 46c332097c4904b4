"""Seeded faults: each kernel's own tests see every fault of mutations/<kernel>.py."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.support.cuda.mutate import Mutation, run_tests

MUTATIONS = Path(__file__).with_name("mutations")
FILES = {file.stem: runpy.run_path(str(file)) for file in sorted(MUTATIONS.glob("*.py"))}
FAULTS = [
    pytest.param(kernel, mutation, id=f"{kernel}: {mutation.fault}")
    for kernel, said in FILES.items()
    for mutation in said["MUTATIONS"]
]

pytestmark = [pytest.mark.verify, pytest.mark.timeout(600)]


@pytest.mark.parametrize("kernel", FILES)
def test_without_a_fault_the_tests_pass(kernel: str) -> None:
    done = run_tests(kernel, None, FILES[kernel].get("BUILT", ()))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("kernel", "mutation"), FAULTS)
def test_a_seeded_fault_is_caught(kernel: str, mutation: Mutation) -> None:
    done = run_tests(kernel, mutation, FILES[kernel].get("BUILT", ()))
    assert done.returncode == 1, f"the tests pass with: {mutation.fault}\n{done.stdout}"
