"""The emulated GPU, built once a session; and what only `make cuda-verify` runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.cuda import build
from tests.support.cuda.emulator import Emulator

VERIFY = "SECATEUR_CUDA_VERIFY"
ELSEWHERE = "SECATEUR_EMULATED"  # path of another build, such as one with a seeded fault


@pytest.fixture(scope="session")
def emulator() -> Emulator:
    elsewhere = os.environ.get(ELSEWHERE)
    return Emulator(Path(elsewhere) if elsewhere else build.emulated())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is marked `verify` unless it was asked for."""
    if os.environ.get(VERIFY, "") not in ("", "0"):
        return
    heavy = [item for item in items if item.get_closest_marker("verify")]
    if heavy:
        config.hook.pytest_deselected(items=heavy)
        items[:] = [item for item in items if item not in heavy]
