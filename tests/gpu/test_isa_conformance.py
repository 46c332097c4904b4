"""Whether the hardware does what the models of its instructions do, on the same random bits.

What the ISA leaves open, a sum's order or who comes first, is held to the oracle's bound instead.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.support.cuda import build
from tests.support.cuda.device import Device
from tests.support.cuda.emulator import Emulator
from tests.support.cuda.isa import base, run

LIBRARY = "SECATEUR_CUDA_EXTENSION"  # path of _C_cuda.so; without it, one is built here
SEEDS = (0, 1, 2)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
]


@pytest.fixture(scope="module")
def device() -> Device:
    path = os.environ.get(LIBRARY)
    return Device(Path(path) if path else build.compiled())


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return Emulator(build.emulated(folder=build.ROOT / "build" / "emu_isa", ops="isa"))


@pytest.mark.parametrize(("kernel", "which"), run.INSTRUCTIONS, ids=run.name)
def test_the_hardware_does_what_the_isa_says(device: Device, kernel: str, which: str) -> None:
    oracle = base.oracle(kernel)
    for seed in SEEDS:
        given = oracle.given(which, torch.Generator().manual_seed(seed))
        oracle.judge(which, given, run.on_device(device, kernel, which, given))


@pytest.mark.parametrize(
    ("kernel", "which"),
    [pair for pair in run.INSTRUCTIONS if pair[1] not in base.oracle(pair[0]).OPEN],
    ids=run.name,
)
def test_the_model_gives_the_bits_of_the_hardware(
    device: Device, emulator: Emulator, kernel: str, which: str
) -> None:
    for seed in SEEDS:
        given = base.oracle(kernel).given(which, torch.Generator().manual_seed(seed))
        model, _ = run.emulated(emulator, kernel, which, given, seed=seed)
        base.equal(run.on_device(device, kernel, which, given), model)
