"""Progress of the long stages on stderr: a rich bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[str], None]
PLAIN_LINES = 5


@contextmanager
def stage(title: str, total: int) -> Iterator[Advance]:
    """Show a stage of `total` steps; the function given is called after each, with a remark."""
    started = time.perf_counter()
    pretty = sys.stderr.isatty() and importlib.util.find_spec("rich") is not None
    with _bar(title, total) if pretty else _lines(title, total) as advance:
        yield advance
    print(f"{title}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def quiet() -> Iterator[Advance]:
    """Show nothing."""
    yield lambda remark: None


@contextmanager
def _bar(title: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total, remark="")
        yield lambda remark: progress.update(task, advance=1, remark=remark)


@contextmanager
def _lines(title: str, total: int) -> Iterator[Advance]:
    every, done = max(1, total // PLAIN_LINES), 0

    def advance(remark: str) -> None:
        nonlocal done
        done += 1
        if done % every == 0 and done < total:
            print(f"{title}: {done}/{total} {remark}".rstrip(), file=sys.stderr, flush=True)

    yield advance
