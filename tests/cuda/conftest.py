"""The emulated GPU, built once a session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cuda import build
from tests.support.cuda.bound import Bound, installed
from tests.support.cuda.emulator import Emulator

ELSEWHERE = "SECATEUR_EMULATED"  # path of another build, such as one with a seeded fault


@pytest.fixture(scope="session")
def emulator() -> Emulator:
    elsewhere = os.environ.get(ELSEWHERE)
    return Emulator(Path(elsewhere) if elsewhere else build.emulated())


@pytest.fixture
def bound(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bound]:
    """The ops of the CUDA library, on the emulated GPU."""
    with installed(emulator, monkeypatch) as found:
        yield found
