"""What nvcc made of the kernels, read by cuobjdump: registers, spills, instructions.

cuobjdump comes with the CUDA toolkit, and with the triton wheel.

`python -m tests.support.cuda.cubins` prints the table that tests/cuda/resources.csv should be.
"""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pytest

from tests.support.cuda import build

# Shared memory that a block may ask for, by the kernel's table and by architecture: CUDA C++
# Programming Guide, "Technical Specifications per Compute Capability".
SHARED_LIMIT = {80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}  # KiB


@dataclass(frozen=True, order=True)
class Resources:
    """What a thread of a function needs on an architecture: a line of resources.csv."""

    kernel: str
    function: str
    sm: int
    registers: int
    stack_bytes: int
    static_shared_bytes: int


def resources() -> list[Resources]:
    """Return the resources of every function of every kernel on every architecture."""
    found = []
    for kernel, path in build.objects().items():
        sm = 0
        function = ""
        for line in _cuobjdump("--dump-resource-usage", path).splitlines():
            if match := re.search(r"arch = sm_(\d+)", line):
                sm = int(match[1])
            elif match := re.search(r"Function (\S+):", line):
                function = plain_name(match[1])
            elif match := re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)", line):
                numbers = map(int, match.groups())
                found.append(Resources(kernel, function, sm, *numbers))
    return sorted(found)


@dataclass(frozen=True)
class Instruction:
    """One machine instruction.

    Args:
        address: in its function, bytes.
        opcode: with its modifiers, LDG.E.128.
        branch: the address that it may go to, or -1.
        sets: the scoreboard, 0 to 5, that is raised until its result is there; 7 is none.
        waits: scoreboards that have to be down before it is issued, one bit each.
    """

    address: int
    opcode: str
    branch: int
    sets: int
    waits: int


def instructions(path: Path) -> dict[tuple[int, str], list[str]]:
    """Return the machine instructions of an object: (sm, function) -> opcodes, in order."""
    return {key: [i.opcode for i in found] for key, found in code(path).items()}


def code(path: Path) -> dict[tuple[int, str], list[Instruction]]:
    """Return the same with what is known of each instruction.

    Scoreboards are in the upper half of an instruction's 128 bits; where, is from Jia et al.,
    "Dissecting the NVIDIA Volta GPU Architecture via Microbenchmarking" (2018), and still so.
    """
    found: dict[tuple[int, str], list[Instruction]] = {}
    sm = 0
    current: list[Instruction] = []
    lines = iter(_cuobjdump("-sass", path).splitlines())
    for line in lines:
        if match := re.search(r"arch = sm_(\d+)", line):
            sm = int(match[1])
        elif match := re.search(r"Function : (\S+)", line):
            current = found.setdefault((sm, plain_name(match[1])), [])
        elif match := _INSTRUCTION.match(line):
            target = re.search(r"\bBRA\b.*?(0x[0-9a-f]+)", line)
            upper = re.search(r"/\* (0x[0-9a-f]+) \*/", next(lines))
            assert upper, f"no upper half behind {line!r}"
            control = int(upper[1], 16) >> 41
            branch = int(target[1], 16) if target else -1
            at = Instruction(
                int(match[1], 16), match[2], branch, control >> 5 & 7, control >> 11 & 63
            )
            current.append(at)
    return found


_INSTRUCTION = re.compile(r"\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)")


def innermost_loops(function: list[Instruction]) -> list[list[Instruction]]:
    """Return the loops of a function that have no other inside."""
    spans = [(i.branch, i.address) for i in function if 0 <= i.branch < i.address]
    return [
        [i for i in function if begin <= i.address <= end]
        for begin, end in spans
        if not any(begin <= b and e <= end for b, e in spans if (b, e) != (begin, end))
    ]


def plain_name(mangled: str) -> str:
    """Return a function's name without namespaces and parameters: product<f16>."""
    done = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True)
    bare = re.sub(r"\((?:anonymous namespace)\)::|\b\w+::", "", done.stdout.strip())
    return re.sub(r"^void ", "", bare.partition("(")[0])


def _cuobjdump(flag: str, path: Path) -> str:
    tool = shutil.which("cuobjdump")
    if tool is None:
        triton = importlib.util.find_spec("triton")
        if triton is None or triton.origin is None:
            pytest.skip("cuobjdump is not here; `pip install triton` brings it")
        tool = str(Path(triton.origin).parent / "backends" / "nvidia" / "bin" / "cuobjdump")
    done = subprocess.run([tool, flag, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


if __name__ == "__main__":
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(field.name for field in fields(Resources))
    table.writerows(astuple(row) for row in resources())
