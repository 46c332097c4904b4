"""Says why something is left out of a run, once for each reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Teller:
    """Remembers what was told.

    Args:
        say: takes a line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told: set[tuple[str, str]] = set()

    def skipped(self, name: str, reason: str) -> None:
        """Say that `name` is left out, and why."""
        if (name, reason) not in self._told:
            self._say(f"{name}: skipped, {reason}")
        self._told.add((name, reason))

    def all_skipped(self, absent: Mapping[str, str]) -> None:
        """Say it of names with their reasons."""
        for name, reason in absent.items():
            self.skipped(name, reason)
