"""The machine code of each kernel holds what it claims: sass/<kernel>.txt says what.

A line is `<sm> <function> <opcodes> <comparison> <count>`: `*` is any architecture or function, the
opcodes are a regular expression that begins at an instruction's name. Every kernel needs its file.
"""

from __future__ import annotations

import operator
import re
from pathlib import Path

import pytest

from tests.support.cuda import build, cubins

ROOT = Path(__file__).parents[2]
CLAIMS = Path(__file__).with_name("sass")
KERNELS = [f"{p.parent.name}_{p.stem}" for p in sorted((ROOT / "csrc/cuda").glob("*/*.cu"))]
COMPARE = {"==": operator.eq, ">=": operator.ge, "<=": operator.le}

pytestmark = [pytest.mark.verify, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_machine_code_is_as_claimed(kernel: str) -> None:
    code = cubins.instructions(build.objects()[kernel])
    assert code, f"cuobjdump shows no function of {kernel}"
    for line in (CLAIMS / f"{kernel}.txt").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        sm, function, opcodes, comparison, count = line.split()
        meant = [
            key
            for key in code
            if sm in ("*", str(key[0])) and function in ("*", key[1], key[1].partition("<")[0])
        ]
        assert meant, f"{line!r} speaks of no function of {sorted(code)}"
        for key in meant:
            found = sum(bool(re.match(opcodes, opcode)) for opcode in code[key])
            assert COMPARE[comparison](found, int(count)), f"{key}: {line!r}, but there are {found}"


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_thread_keeps_anything_in_local_memory(kernel: str) -> None:
    for key, opcodes in cubins.instructions(build.objects()[kernel]).items():
        assert not [o for o in opcodes if re.match(r"(LDL|STL)\b", o)], key
