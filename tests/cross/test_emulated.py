"""The kernels of other processors, run under an emulator on the problems the rest is held to.

tests/cross/kernels.cpp is built without torch: for this machine, which tests the driver itself, and
for aarch64, whose NEON kernels then run under qemu; and the portable kernels once more with vectors
of 16 floats, the width of AVX-512. The x86-64 build also runs under qemu with all
it can emulate, which is AVX2 and no more: qemu has no AVX-512. The AVX-512 kernels are compiled
here, but they are run only where the processor has it, and by no emulator.

An emulator shows that the answers are right. It says nothing of speed.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import platform
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from secateur.formats import FORMATS, Packed
from tests.support import data, judge, truth

ROOT = Path(__file__).parents[2]
ACTS = ["none", "relu", "gelu", "gelu_tanh", "silu", "relu6"]  # as csrc/cpu/kernel.h numbers them
TYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int8]  # likewise
ROWS = [1, 2, 17, 64, 130]
FEW_ROWS = [1, 2, 17]  # of the formats whose kernels take four rows at a time: all their paths
# Building takes minutes where others work on the machine, and emulation is slow.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Target:
    """A machine to run on: how to build for it and what runs it, and what must then have run."""

    name: str
    compiler: str
    runner: tuple[str, ...]
    flags: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ("portable", "portable_row")
    apt: str = "g++"
    margin: int = 0  # bytes that may be read past a buffer
    lanes: int = 0  # floats of a vector in the portable kernels, where not what they are else

    @property
    def folder(self) -> Path:
        """Where it is built."""
        wide = f"-{self.lanes}" if self.lanes else ""
        return ROOT / "build" / "cross" / (self.compiler + wide)


ARM = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64")
SOON = ("-DSECATEUR_OPTIMIZE=-O1",)  # of kernels that the suite runs at -O3 elsewhere
TARGETS = [
    # The portable kernels as they are: the others of this machine are run by name elsewhere.
    Target("native", "c++", (), SOON, lanes=4),
    # AVX-512's width without its instructions: what depends on the width runs anywhere.
    Target("wide", "c++", (), SOON, lanes=16),
    Target(
        "aarch64",
        "aarch64-linux-gnu-g++",
        ("qemu-aarch64",),
        ARM,
        ("portable", "portable_row", "neon", "neon_row"),
        "g++-aarch64-linux-gnu qemu-user",
    ),
    Target(
        "x86_64",
        "c++" if platform.machine() == "x86_64" else "x86_64-linux-gnu-g++",
        ("qemu-x86_64", "-cpu", "max"),
        kernels=("portable", "portable_row", "avx2", "avx2_row"),
        apt="g++-x86-64-linux-gnu qemu-user",
        # qemu 7.2 reads the lanes that vmaskmovps leaves out, here rows of x beyond the last; no
        # processor does, and the native run has no margin.
        margin=1 << 20,
    ),
]


@dataclass
class Problem:
    """One call of an op, and who judges its answer."""

    packed: Packed
    x: Tensor
    judge: Callable[[Tensor], None]
    act: str = "none"
    bias: Tensor | None = None
    residual: Tensor | None = None
    scale: Tensor | None = None
    name: str = ""
    ran: list[str] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """As `Problem` of tests/cross/kernels.cpp, followed by the tensors."""
        tensors = [self.packed.index, self.packed.values, self.x]
        blobs = [*map(raw, tensors), *map(raw, (self.bias, self.residual, self.scale))]
        op = f"{self.packed.format}_linear".encode()
        kinds = (ACTS.index(self.act), TYPES.index(self.packed.values.dtype))
        numbers = (len(self.x), *kinds, TYPES.index(self.x.dtype), *map(len, blobs))
        return struct.pack("<16s10q", op, *numbers) + b"".join(blobs)


def raw(tensor: Tensor | None) -> bytes:
    return b"" if tensor is None else tensor.contiguous().view(torch.uint8).numpy().tobytes()


def build(target: Target) -> Path:
    """The driver, compiled where it is not yet. Other test processes wait for it."""
    folder = target.folder
    folder.mkdir(parents=True, exist_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    flags = ["-DSECATEUR_CROSS=ON", f"-DCMAKE_CXX_COMPILER={target.compiler}", *target.flags]
    flags += [f"-DSECATEUR_LANES={target.lanes}"] if target.lanes else []
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (
            ["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(folder), *flags],
            ["cmake", "--build", str(folder)],
        ):
            done = subprocess.run(
                command, env={**os.environ, "PATH": path}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
    return folder / "kernels"


@pytest.fixture(params=TARGETS, ids=lambda target: target.name)
def target(request: pytest.FixtureRequest) -> Target:
    found: Target = request.param
    for tool in (found.compiler, *found.runner[:1]):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not here; on Debian: apt-get install {found.apt}")
    return found


def hold(target: Target, problems: list[Problem], folder: Path) -> None:
    """Run all kernels of the target on all problems; each answer goes to its problem's judge."""
    asked, answered = folder / "problems", folder / "answers"
    asked.write_bytes(b"".join(problem.to_bytes() for problem in problems))
    done = subprocess.run(
        [*target.runner, str(build(target)), str(asked), str(answered), str(target.margin)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}"
    rest = memoryview(bytearray(answered.read_bytes()))
    for line in done.stdout.splitlines():
        number, kernel = line.split()
        problem = problems[int(number)]
        problem.ran.append(kernel)
        shape = (len(problem.x), problem.packed.out_features)
        size = shape[0] * shape[1] * problem.x.element_size()
        y = torch.frombuffer(rest[:size], dtype=problem.x.dtype).reshape(shape)
        rest = rest[size:]
        try:
            problem.judge(y)
        except AssertionError as error:
            raise AssertionError(f"{kernel}, {problem.name}: {error}") from error
    assert not rest, "more answers than were announced"
    ran = {kernel for problem in problems for kernel in problem.ran}
    ops = {f"{problem.packed.format}_linear" for problem in problems}
    sources = (ROOT / "csrc/cpu" / op / f"{name}.cpp" for op in ops for name in target.kernels)
    missing = {f"{s.parent.name}_{s.stem}" for s in sources if s.exists()} - ran
    assert not missing, f"{sorted(missing)} ran none of the problems"


def whole_numbers(fmt: str, out: int, in_: int) -> list[Problem]:
    """Every mask, row count and type; sums are exact, so the answer is rounded once or wrong."""
    problems = []
    gen = data.generator()
    counts = FEW_ROWS if fmt in ("bitmap", "sell") else ROWS
    for (kind, mask), rows in itertools.product(data.masks(out, in_, gen).items(), counts):
        if FORMATS.get(fmt).fits(mask) is not None:
            continue
        weight, x = data.integers((out, in_), gen), data.integers((rows, in_), gen)
        bias, residual = data.integers((out,), gen), data.integers((rows, out), gen)
        whole = FORMATS.get(fmt).pack(weight, mask)
        for value_type in TYPES:
            packed, scale = data.retyped(whole, value_type)
            dense = weight if scale is None else weight * scale[:, None]
            wanted = truth.linear(x, dense, mask, bias, residual, "relu").y
            for x_type in TYPES[:3]:
                problems.append(
                    Problem(
                        packed,
                        x.to(x_type),
                        lambda y, wanted=wanted: judge.exact(y, wanted.to(y.dtype)),
                        "relu",
                        bias,
                        residual.to(x_type),
                        scale,
                        f"{kind}, {rows} rows, values {value_type}, x {x_type}",
                    )
                )
    return problems


@pytest.mark.parametrize("fmt", ["csr", "nm", "bitmap", "sell"])
def test_whole_numbers_come_out_rounded_once(target: Target, fmt: str, tmp_path: Path) -> None:
    problems = whole_numbers(fmt, 5, 4) + whole_numbers(fmt, 70, 260)
    hold(target, problems, tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_every_number_of_sixteen_bits(target: Target, dtype: torch.dtype, tmp_path: Path) -> None:
    """All 65536 go in and come out; times 1/3 they are rounded as torch rounds."""
    every = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)
    problems = []
    for factor, rows in itertools.product((1.0, 1 / 3), (1, 1024)):
        out = 4096 if rows == 1 else 64
        mask = torch.zeros(out, 2 * out, dtype=torch.bool)
        mask[torch.arange(out), 2 * torch.arange(out)] = True  # one weight a row
        packed = FORMATS.get("csr").pack(torch.full(mask.shape, factor), mask)
        for numbers in every.reshape(-1, rows, out):
            wanted = (numbers.float() * torch.tensor(factor)).to(dtype)
            x = numbers.repeat_interleave(2, dim=1)
            problems.append(
                Problem(
                    packed,
                    x,
                    lambda y, wanted=wanted: same_or_nan(y, wanted),
                    name=f"times {factor}, {rows} rows",
                )
            )
    hold(target, problems, tmp_path)


def same_or_nan(y: Tensor, wanted: Tensor) -> None:
    number = ~wanted.isnan()
    judge.exact(y[number], wanted[number])
    assert bool(y[~number].isnan().all())


@pytest.mark.parametrize("fmt", ["csr", "nm", "bitmap", "sell"])
def test_reals_stay_within_the_error_bound(target: Target, fmt: str, tmp_path: Path) -> None:
    gen = data.generator(2)
    out, in_ = 70, 300
    weight, mask = data.reals((out, in_), gen), data.nm_mask(out, in_, 2, 4, gen)
    bias, packed = data.reals((out,), gen), FORMATS.get(fmt).pack(weight, mask)
    problems = []
    for rows, act in itertools.product((1, 40, 65), judge.ACTIVATIONS):
        x = data.reals((rows, in_), gen)
        known = truth.linear(x, weight, mask, bias, act=act)
        problems.append(
            Problem(
                packed,
                x,
                lambda y, known=known: judge.within_bound(y, known),
                act,
                bias,
                name=f"{act}, {rows} rows",
            )
        )
    hold(target, problems, tmp_path)
