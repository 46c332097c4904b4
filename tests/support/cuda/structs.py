"""Structs and enums of csrc, made from the headers' own text: a contract is written once, in C++.

A contract, csrc/cuda/<op>/<op>.h, keeps to one field a line: a number of fixed width or a pointer.
"""

from __future__ import annotations

import ctypes
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]

_NUMBERS: dict[str, type] = {
    "std::int64_t": ctypes.c_int64,
    "std::int32_t": ctypes.c_int32,
    "float": ctypes.c_float,
}
_STRUCT = re.compile(r"struct (\w+Args) \{\n(.*?)\n\};", re.DOTALL)
_FIELD = re.compile(r"^\s*(?P<type>[\w: ]+?)(?P<star>\*?)\s+(?P<name>\w+)( = \w+)?;")


@functools.cache
def args_of(op: str) -> type[ctypes.Structure]:
    """Return the struct of arguments of an op; `inputs` names its pointers to const."""
    path = ROOT / "csrc" / "cuda" / op / f"{op}.h"
    found = _STRUCT.search(path.read_text())
    assert found, f"{path} has no struct <Op>Args"
    fields: list[tuple[str, type]] = []
    inputs = set()
    for line in found[2].splitlines():
        if not line.partition("//")[0].strip():
            continue
        field = _FIELD.match(line)
        assert field, f"{path}: not one field of a number or a pointer: {line!r}"
        if field["star"]:
            fields.append((field["name"], ctypes.c_void_p))
            inputs |= {field["name"]} if field["type"].startswith("const ") else set()
        else:
            fields.append((field["name"], _NUMBERS[field["type"]]))
    return type(found[1], (ctypes.Structure,), {"_fields_": fields, "inputs": inputs})


@functools.cache
def enum(name: str) -> dict[str, int]:
    """Return the words of an enum of csrc/common/types.h with their numbers."""
    text = (ROOT / "csrc" / "common" / "types.h").read_text()
    found = re.search(rf"enum class {name} : std::uint8_t \{{([^}}]*)\}}", text)
    assert found, f"csrc/common/types.h has no enum {name}"
    return {word.strip(): number for number, word in enumerate(found[1].split(","))}
