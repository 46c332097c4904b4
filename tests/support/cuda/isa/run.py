"""Which conformance kernels there are, and running one: on the emulated GPU, or on a real one."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from tests.support.cuda.device import Device
from tests.support.cuda.emulator import Emulator, Outcome
from tests.support.cuda.isa.base import Given

ROOT = Path(__file__).parents[4]


def _instructions() -> list[tuple[str, str]]:
    """Return kernels and instructions, as their files' last lines have them."""
    found = []
    for path in sorted((ROOT / "csrc" / "cuda" / "isa").glob("*.cu")):
        line = path.read_text().rpartition("SECATEUR_CUDA_KERNEL(")[2]
        words = "".join(re.findall(r'"([^"]*)"', line)).removesuffix("words")
        found += [(f"isa_{path.stem}", which) for which in words.split(",")]
    return found


INSTRUCTIONS = _instructions()


def name(value: object) -> str:
    """Return a parameter's name in a test's."""
    return str(value)


def emulated(
    emulator: Emulator,
    kernel: str,
    which: str,
    given: Given,
    *,
    seed: int = 0,
    resident: int = 1,
) -> tuple[Tensor, Outcome]:
    """Return what `out` holds after a launch on the emulated GPU, and what was found."""
    after = given.before.clone()
    fields = _fields(emulator.kernel(kernel).types, which, given, after)
    return after, emulator.launch(kernel, fields, seed=seed, resident=resident)


def on_device(device: Device, kernel: str, which: str, given: Given) -> Tensor:
    """Return what `out` holds after a launch on the GPU."""
    after = given.before.cuda()
    words = Given(given.words.cuda(), given.before)
    device.launch(kernel, _fields(device.kernel(kernel).types, which, words, after))
    return after.cpu()


def _fields(
    types: tuple[str, ...], which: str, given: Given, out: Tensor
) -> dict[str, Tensor | int | float | None]:
    number = types.index(which)
    return {"in": given.words, "out": out, "cases": len(given.words), "which": number}
