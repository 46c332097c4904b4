"""Triton kernels as machine code: tensor cores, spills, registers and shared memory.

`python -m tests.triton.aot` writes the table anew, which is to be done where a kernel, a config or
the version of triton has changed.
"""

from __future__ import annotations

import importlib.metadata

import pytest

pytest.importorskip("triton", reason="triton is not installed")

from tests.support.cuda.cubins import SHARED_LIMIT
from tests.triton import aot

# Without tensor cores the factors lie in registers too; one number is then parked before a loop.
EXACT_STACK = 8
CASES = {str(case): case for case in aot.cases()}

# One of each kernel, on each architecture and of each type in turn.
QUICK = [
    "bsr_product fp16 sm_90 w8 s5 OUT=64 IN=64 WHOLE=1 TOKENS=128 STEP=64",
    "bsr_gradient fp16 sm_100 w8 s3 R=64 C=64 STEP=64",
    "nm_forward fp16 sm_80 w8 s3 N=2 M=4 BITS=2 TOKENS=128 OUT=128 STEP=32",
    "masked_gradient bf16 sm_90 w8 s3 BITS=0 OUT=128 IN=128 STEP=64",
]


def check(case: aot.Case) -> None:
    """Raise unless the machine code of a case is what the kernels promise."""
    made = aot.compile_case(case)
    most = EXACT_STACK if case.dtype == "fp32" else 0
    assert made.stack <= most and made.spilled_in_loops == 0, f"{case}: {aot.numbers(made)}"
    assert made.shared <= SHARED_LIMIT[case.architecture] * 1024
    kind = aot.tensor_core(made)
    exact = case.dtype == "fp32" or case.kernel == "add_parts"
    assert (kind == "") == exact, f"{case}: tensor-core instruction {kind or 'none'!r}"
    if case.kernel != "add_parts":
        # Tiles arrive while others are multiplied.
        assert any(word.startswith("LDGSTS") for word in made.instructions), "no cp.async"
    row = aot.budgets()[str(case)]
    assert kind == row["tensor core"]
    found = aot.numbers(made)
    if importlib.metadata.version("triton") == aot.VERSION:
        assert {name: int(row[name]) for name in found} == found, f"{case}: the table is old"


@pytest.mark.parametrize("name", QUICK)
def test_a_kernel_of_each_kind(name: str) -> None:
    check(CASES[name])


@pytest.mark.verify
@pytest.mark.parametrize("name", CASES)
def test_every_kernel(name: str) -> None:
    check(CASES[name])


def test_the_table_has_every_case_and_no_other() -> None:
    assert set(aot.budgets()) == set(CASES)


def test_the_widest_tensor_cores_are_used_where_tiles_fill_them() -> None:
    """wgmma and tcgen05 need 64 tokens; narrower tiles take mma.sync on every architecture."""
    kinds = {80: "HMMA", 90: "HGMMA", 100: "UTCHMMA"}
    for name, case in CASES.items():
        tokens = dict(case.constants).get("TOKENS", 0)
        if case.dtype in ("fp16", "bf16") and tokens >= 64:
            assert aot.budgets()[name]["tensor core"] == kinds[case.architecture], name
        elif case.dtype in ("fp16", "bf16") and tokens:
            assert aot.budgets()[name]["tensor core"] == "HMMA", name


def test_at_most_six_ways_of_launching_are_tried() -> None:
    for kernel, shapes in aot._TUNED.values():
        for constants in shapes:
            for precision in ("ieee", "tf32"):
                for rows in (1, 16, 17, 64, 4096):
                    known = {**constants, "rows": rows, "PRECISION": precision}
                    assert 1 <= len(kernel.fitting(known)) <= 6
