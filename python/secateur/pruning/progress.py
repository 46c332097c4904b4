"""Showing how far a longer job has come, without asking anything of the user."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any

Callback = Callable[[int, int, str], None]
PATIENCE_S = 2.0


class Progress:
    """Counts steps; tells a callback, or draws a bar once it takes long and a person watches.

    Args:
        total: number of steps; None if nobody knows.
        callback: called with (steps done, total or 0, what comes next); None: a bar on stderr
            after two seconds, where that is a terminal, rich is installed, and no other bar is
            drawn.
    """

    def __init__(self, total: int | None, callback: Callback | None = None) -> None:
        self.total = total
        self.done = 0
        self._callback = callback
        self._started = monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, what: str) -> None:
        """Say that `what` begins, and that what began before is done."""
        if self._callback is not None:
            self._callback(self.done, self.total or 0, what)
        elif monotonic() - self._started > PATIENCE_S and sys.stderr.isatty():
            self._draw(what)
        self.done += 1

    def _draw(self, what: str) -> None:
        if self._bar is None:
            try:
                from rich.console import Console
                from rich.errors import LiveError
                from rich.progress import Progress as Bar
            except ImportError:
                return
            bar = Bar(console=Console(stderr=True), transient=True)
            self._task = bar.add_task(what, total=self.total)
            try:
                bar.start()
            except LiveError:
                return
            self._bar = bar
        self._bar.update(self._task, completed=self.done, description=what)
