"""Progress: a callback is told; a terminal gets a bar, and only if it takes long."""

from __future__ import annotations

import io
import sys

import pytest

from secateur.pruning import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(monkeypatch: pytest.MonkeyPatch, terminal: io.StringIO, patience: float) -> str:
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "PATIENCE_S", patience)
    with progress.Progress(2) as steps:
        steps.step("first layer")
        steps.step("second layer")
    return terminal.getvalue()


def test_a_bar_is_drawn_on_a_terminal_once_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert "second layer" in run(monkeypatch, Terminal(), -1.0)
    assert run(monkeypatch, Terminal(), 60.0) == ""
    assert run(monkeypatch, io.StringIO(), -1.0) == ""


def test_without_rich_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert run(monkeypatch, Terminal(), -1.0) == ""
