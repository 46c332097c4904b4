"""Puts what a run printed between the markers of README.md. It prints and measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

README = Path(__file__).with_name("README.md")
BEGIN = "<!-- numbers: begin. Written by --write-readme; never by hand. -->"
END = "<!-- numbers: end -->"


def write(command: str, lines: Sequence[str], path: Path = README) -> None:
    """Replace what stands between the markers of `path` by a command and what it printed.

    Raises:
        ValueError: if the file has not both markers, in order.
    """
    text = path.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} must have the lines {BEGIN!r} and {END!r}")
    shown = "\n".join(lines).strip("\n")
    body = f"\n\n## What it printed\n\n`{command}`:\n\n```\n{shown}\n```\n\n"
    path.write_text(head + begin + body + end + tail, encoding="utf-8")
