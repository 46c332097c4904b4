"""Puts what a run printed between the markers of README.md. It prints and measures nothing.

Every benchmark has a section of its own, with markers of its own; the others are left as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

README = Path(__file__).with_name("README.md")


def markers(what: str) -> tuple[str, str]:
    """Return the lines before and after the section of a benchmark."""
    begin = f"<!-- {what}: begin. Written by --write-readme; never by hand. -->"
    return begin, f"<!-- {what}: end -->"


def write(what: str, command: str, lines: Sequence[str], path: Path = README) -> None:
    """Replace a benchmark's section of `path` by a command and what it printed.

    A benchmark that has none gets one at the end.

    Raises:
        ValueError: if only one of its markers is there, or they are not in order.
    """
    text = path.read_text(encoding="utf-8")
    begin, end = markers(what)
    if begin not in text and end not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} must have the lines {begin!r} and {end!r}, in this order")
    shown = "\n".join(lines).strip("\n")
    body = f"\n\n## What it printed: {what}\n\n`{command}`:\n\n```\n{shown}\n```\n\n"
    path.write_text(head + begin + body + end + tail, encoding="utf-8")
