"""The project speaks of itself alone: no tracker numbers, diaries, hosts or loose ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUFFIXES = {".py", ".cpp", ".h", ".cu", ".cuh", ".cmake", ".md", ".toml", ".yml", ".txt", ""}
ROOMS = (
    "python",
    "csrc",
    "tests",
    "benchmarks",
    "examples",
    "docs",
    "requirements",
    ".github",
    ".ci",
)

FORBIDDEN = {
    "a tracker number": r"(?i)\b(issue|ticket|pr|pull request)s?\s*#?\d+|(?<![&\w/])#\d+\b",
    "a diary": r"(?i)\b(this|earlier|previous|later|next) session\b",
    "a path on somebody's machine": r"(?<![\w.])/(home|root|work|Users)/",
    "a package host": r"(?i)\bpypi\.org\b|\bpythonhosted\b|\bdownload\.pytorch\b|\bdebian\.org\b",
    "a to-do without a condition": r"\b(TODO|FIXME|XXX)\b(?!\([^)]+\):)",
}
COMMENTED_OUT_CPP = re.compile(r"^\s*//.*[;{]\s*$")


def texts() -> list[Path]:
    inside = [p for room in ROOMS for p in (ROOT / room).rglob("*") if p.is_file()]
    files = [*inside, *(p for p in ROOT.iterdir() if p.is_file())]
    skipped = {Path(__file__), ROOT / "LICENSE"}
    return sorted(p for p in files if p.suffix in SUFFIXES and p not in skipped)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_forbidden_is_said(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"{what} in:\n" + "\n".join(found)


def test_no_commented_out_code_in_kernels() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        if path.suffix in {".cpp", ".h", ".cu", ".cuh"}
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if COMMENTED_OUT_CPP.match(line)
    ]
    assert not found, "\n".join(found)


def test_american_spellings_stay_out_of_the_prose() -> None:
    american = re.compile(
        r"\b(behavior|optimiz(?!er)|normaliz|initializ|vectoriz|neighbor|favorit)"
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        if path.suffix == ".md"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if american.search(line)
    ]
    assert not found, "\n".join(found)
