"""Every Triton kernel compiled to machine code for GPUs that are not here, and what is in it.

Run as a script it writes the table of registers and shared memory that the tests hold.
"""

from __future__ import annotations

import csv
import functools
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # triton 3.9 warns where it is not set

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from secateur.backends.triton import _bsr_linear, _launch, _masked_linear, _nm_linear
from secateur.backends.triton._tune import Tuned
from secateur.backends.triton.kernels import act

VERSION = "3.9.0"  # of triton, whose compiler made the table
TABLE = Path(__file__).with_name("budgets.csv")
ARCHITECTURES = (80, 90, 100)
DTYPES = ("fp16", "bf16", "fp32", "tf32")
_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"

_INT_POINTERS = {"first", "across", "along", "start", "order"}
_BYTE_POINTERS = {"index", "mask"}
_FLOAT_POINTERS = {"x", "values", "weight", "grad_y", "y", "dx", "dw", "bias", "residual"}
_ABSENT = {"partial", "residual"}

_Shapes = list[dict[str, Any]]


def _nm(**more: str) -> _Shapes:
    patterns = ((2, 4, 2, 2), (1, 4, 1, 2), (8, 16, 8, 4), (3, 8, 4, 4))
    packed = {"K_BLOCK": 128, "ROW_BLOCK": 256, "TAIL": False, **more}
    return [{"N": n, "M": m, "NP": p, "BITS": bits, **packed} for n, m, p, bits in patterns]


_BLOCKS = ((64, 64), (16, 16), (32, 32), (128, 128), (64, 16), (16, 64))
_WHOLE = {"WHOLE": True, "ACT": "gelu"}
# Of each kernel the shapes it is compiled for. The first is compiled on every architecture and
# in every type with its largest tile, and once with every config; the others are compiled once.
_TUNED: dict[str, tuple[Tuned, _Shapes]] = {
    "bsr_product": (
        _bsr_linear._product,
        [{"OUT": r, "IN": c, "TRANSPOSED": False, **_WHOLE} for r, c in _BLOCKS]
        + [{"OUT": 64, "IN": 64, "TRANSPOSED": False, "WHOLE": False, "ACT": "gelu"}],
    ),
    "bsr_product_transposed": (
        _bsr_linear._product,
        [{"OUT": c, "IN": r, "TRANSPOSED": True, **_WHOLE} for r, c in _BLOCKS],
    ),
    "bsr_gradient": (_bsr_linear._gradient, [{"R": r, "C": c} for r, c in _BLOCKS]),
    "nm_forward": (_nm_linear._forward, _nm(ACT="gelu")),
    "nm_backward": (_nm_linear._backward, _nm()),
    "nm_gradient": (_nm_linear._gradient, _nm()),
    "masked_product": (
        _masked_linear._product,
        [{"TRANSPOSED": False, "BITS": bits, "ACT": "none"} for bits in (False, True)],
    ),
    "masked_product_transposed": (
        _masked_linear._product,
        [{"TRANSPOSED": True, "BITS": bits, "ACT": "none"} for bits in (False, True)],
    ),
    "masked_gradient": (_masked_linear._gradient, [{"BITS": bits} for bits in (False, True)]),
}


@dataclass(frozen=True)
class Case:
    """One kernel, one way of launching it, one type, one architecture."""

    kernel: str
    constants: tuple[tuple[str, Any], ...]
    warps: int
    stages: int
    dtype: str
    architecture: int

    def __str__(self) -> str:
        told = ("TOKENS", "OUT", "IN", "R", "C", "STEP", "N", "M", "WHOLE", "BITS")
        words = [f"{k}={int(v)}" for k, v in self.constants if k in told]
        launch = f"sm_{self.architecture} w{self.warps} s{self.stages}"
        return " ".join([self.kernel, self.dtype, launch, *words])


@dataclass(frozen=True)
class Made:
    """What the compiler made of a case."""

    registers: int
    stack: int  # bytes a thread; what does not fit the registers lies there
    spilled_in_loops: int  # loads and stores of the stack that a loop repeats
    shared: int  # bytes
    instructions: frozenset[str]  # with their modifiers


def cases() -> Iterator[Case]:
    """Yield every kernel as the tuner may launch it; of rarer shapes and types a selection."""
    for name, (kernel, shapes) in _TUNED.items():
        for at, constants in enumerate(shapes):
            types = DTYPES if at == 0 else ("fp16",)
            for dtype, architecture in itertools.product(types, ARCHITECTURES):
                precision = "ieee" if dtype == "fp32" else "tf32"
                fitting = kernel.fitting({**constants, "rows": 2**16, "PRECISION": precision})
                if at and architecture != 90:
                    continue
                if at or dtype != "fp16" or architecture != 90:
                    fitting = fitting[-1:]
                for config in fitting:
                    sizes = tuple({**constants, **config.kwargs}.items())
                    launch = config.num_warps, config.num_stages
                    yield Case(name, sizes, *launch, dtype, architecture)
    sizes = (("PARTS", 4), ("ACT", "gelu"), ("B", _launch._ADDED))
    for architecture in ARCHITECTURES:
        yield Case("add_parts", sizes, 4, 3, "fp16", architecture)


def compile_case(case: Case) -> Made:
    """Compile, and read what was made with cuobjdump."""
    kernel = act.add_parts if case.kernel == "add_parts" else _TUNED[case.kernel][0].kernel
    signature, constants = _signature(kernel.arg_names, case)
    aligned: dict[tuple[int, ...], Any] = {
        (at,): [["tt.divisibility", 16]]
        for at, name in enumerate(kernel.arg_names)
        if signature[name] != "constexpr" and name not in ("rows", "bucket")
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    options = {"num_warps": case.warps, "num_stages": case.stages}
    made = triton.compile(source, GPUTarget("cuda", case.architecture, 32), options)
    return _read(made.asm["cubin"], made.metadata.shared)


def _signature(names: list[str], case: Case) -> tuple[dict[str, str], dict[str, Any]]:
    constants: dict[str, Any] = dict(case.constants)
    if "PRECISION" in names:
        constants["PRECISION"] = "ieee" if case.dtype == "fp32" else "tf32"
    absent = _ABSENT - ({"partial"} if case.kernel == "add_parts" else set())
    constants |= {name: None for name in names if name in absent}
    if case.kernel.startswith("bsr_product") and "residual" in constants:
        del constants["residual"]
    pointer = "*fp32" if case.dtype in ("fp32", "tf32") else f"*{case.dtype}"
    signature = {}
    for name in names:
        if name in constants:
            signature[name] = "constexpr"
        elif name == "partial":
            signature[name] = "*fp32"
        elif name in _FLOAT_POINTERS:
            signature[name] = pointer
        elif name in _INT_POINTERS:
            signature[name] = "*i32"
        elif name in _BYTE_POINTERS:
            signature[name] = "*u8"
        else:
            signature[name] = "i32"
    return signature, constants


def _read(cubin: bytes, shared: int) -> Made:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage, code = (_cuobjdump(flag, file.name) for flag in ("-res-usage", "-sass"))
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found, f"cuobjdump says nothing of registers: {usage!r}"
    listing = re.findall(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);", code)
    assert listing, "cuobjdump shows no instruction"
    words = frozenset(word for _, word, _ in listing)
    spilled = _spilled_in_loops([(int(at, 16), word, rest) for at, word, rest in listing])
    return Made(int(found[1]), int(found[2]), spilled, shared, words)


def _spilled_in_loops(listing: list[tuple[int, str, str]]) -> int:
    """Count loads and stores of the stack between a backward branch and where it leads."""
    loops = []
    for at, word, rest in listing:
        target = re.search(r"0x([0-9a-f]+)", rest)
        if word.startswith("BRA") and target and int(target[1], 16) < at:
            loops.append((int(target[1], 16), at))
    stack = [at for at, word, _ in listing if word.split(".")[0] in ("LDL", "STL")]
    return sum(any(start <= at <= end for start, end in loops) for at in stack)


def _cuobjdump(flag: str, path: str) -> str:
    command = [str(_TOOLS / "cuobjdump"), flag, path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def tensor_core(made: Made) -> str:
    """Return the tensor-core instruction of the widest kind that was made, or an empty string."""
    for kind in ("UTCHMMA", "UTCQMMA", "HGMMA", "HMMA"):
        if any(word.split(".")[0] == kind for word in made.instructions):
            return kind
    return ""


def numbers(made: Made) -> dict[str, int]:
    """Return what the table says of a case in numbers, in its order."""
    return {
        "registers": made.registers,
        "stack": made.stack,
        "spilled in loops": made.spilled_in_loops,
        "shared": made.shared,
    }


@functools.cache
def budgets() -> dict[str, dict[str, str]]:
    """Return the checked table, by case."""
    with TABLE.open() as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def main() -> None:
    """Write the table for every case."""
    with TABLE.open("w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case", "registers", "stack", "spilled in loops", "shared", "tensor core"])
        for case in cases():
            made = compile_case(case)
            row = [str(case), *numbers(made).values(), tensor_core(made)]
            writer.writerow(row)
            file.flush()
            print(*row, file=sys.stderr)


if __name__ == "__main__":
    main()
