"""Models of instructions, against oracles that know nothing of them (tests/support/cuda/isa)."""

from __future__ import annotations

import pytest
import torch

from tests.support import data
from tests.support.cuda.emulator import Emulator
from tests.support.cuda.isa import base, mma, run


@pytest.mark.parametrize(("seed", "resident"), [(0, 1), (5, 1), (7, 3)])
@pytest.mark.parametrize(("kernel", "which"), run.INSTRUCTIONS, ids=run.name)
def test_a_model_does_what_the_isa_says(
    emulator: Emulator, kernel: str, which: str, seed: int, resident: int
) -> None:
    given = base.oracle(kernel).given(which, data.generator(seed))
    after, outcome = run.emulated(emulator, kernel, which, given, seed=seed, resident=resident)
    outcome.clean()
    base.oracle(kernel).judge(which, given, after)


def test_the_table_holds_the_instructions_that_are_tested(emulator: Emulator) -> None:
    table = [(k.name, which) for k in emulator.kernels() if k.op == "isa" for which in k.types]
    assert sorted(table) == sorted(run.INSTRUCTIONS)


@pytest.mark.parametrize(
    ("which", "illegal"), [("sp_f16_0", 0x5), ("sp_s8", 0xF), ("sp_tf32_1", 9)]
)
def test_isa_mma_reports_illegal_metadata(emulator: Emulator, which: str, illegal: int) -> None:
    given = mma.given(which, data.generator())
    lane = 2 if which.endswith("_1") else 0
    meta = given.words[:1, lane, 12]
    given.words[:1, lane, 12] = (meta & ~0xF0) | illegal << 4
    _, outcome = run.emulated(emulator, "isa_mma", which, given)
    assert outcome.findings["metadata"]["count"] == 1


def test_isa_mma_looks_at_the_metadata_of_its_selector_alone(emulator: Emulator) -> None:
    given = mma.given("sp_f16_1", data.generator())
    given.words[:, 0::4, 12] = 0
    given.words[:, 1::4, 12] = 0
    after, outcome = run.emulated(emulator, "isa_mma", "sp_f16_1", given)
    outcome.clean()
    mma.judge("sp_f16_1", given, after)


def test_isa_warp_reports_reading_a_lane_outside_of_the_mask(emulator: Emulator) -> None:
    words = torch.zeros(1, 32, 4, dtype=torch.int32)
    words[..., 2], words[..., 3] = 31, 0x7FFFFFFF
    given = base.Given(words, torch.zeros(1, 32, 2, dtype=torch.int32))
    _, outcome = run.emulated(emulator, "isa_warp", "shfl", given)
    assert "divergence" in outcome.findings
