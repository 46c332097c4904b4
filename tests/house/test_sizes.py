"""Files and functions stay small enough to see whole. Complexity is the linters' business."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON_LINES = 400
CPP_LINES = 500
FUNCTION_LINES = 60
# The first line of a file that breaks a cap says so and why: "size: <reason>".
EXCUSE = "size:"


def sources(*suffixes: str) -> list[Path]:
    rooms = ("python", "csrc", "benchmarks", "tests", "examples")
    return sorted(p for r in rooms for p in (ROOT / r).rglob("*") if p.suffix in suffixes)


def excused(path: Path) -> bool:
    lines = path.read_text().splitlines()
    return bool(lines) and EXCUSE in lines[0]


@pytest.mark.parametrize(
    ("suffixes", "cap"),
    [((".py",), PYTHON_LINES), ((".cpp", ".h", ".cu", ".cuh"), CPP_LINES)],
    ids=["python", "c++"],
)
def test_every_file_can_be_read_in_one_sitting(suffixes: tuple[str, ...], cap: int) -> None:
    files = sources(*suffixes)
    assert files, f"no {suffixes} file found under {ROOT}: this test looks in the wrong place"
    lengths = {p: len(p.read_text().splitlines()) for p in files}
    long = [
        f"{p.relative_to(ROOT)}: {n} lines"
        for p, n in lengths.items()
        if n > cap and not excused(p)
    ]
    assert not long, f"over {cap} lines, with no '{EXCUSE} <reason>' in the first line: {long}"


def test_every_python_function_fits_on_a_screen() -> None:
    long = []
    for path in sources(".py"):
        if excused(path):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {length}")
    assert not long, f"functions over {FUNCTION_LINES} lines: {long}"


def test_isa_files_only_instantiate() -> None:
    """An ISA's file names its vector width and its table row; the algorithm is in generic.h."""
    names = ("portable", "avx2", "avx512", "neon")
    files = [p for p in sources(".cpp") if p.stem.split("_")[0] in names]
    assert files, "no ISA file found under csrc"
    long = [
        f"{p.relative_to(ROOT)}: {len(p.read_text().splitlines())} lines"
        for p in files
        if len(p.read_text().splitlines()) > 30 and not excused(p)
    ]
    assert not long, f"ISA files over 30 lines: {long}"
