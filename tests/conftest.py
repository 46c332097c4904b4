"""What every test gets: a fixed seed, one thread, poisoned memory. Helpers are in support/."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings

SEED = int(os.environ.get("SECATEUR_SEED", "0"))
VERIFY = "SECATEUR_CUDA_VERIFY"  # set by `make cuda-verify`
M_PERTURB = -6  # glibc's mallopt parameter: fill allocated memory with the complement of a byte

# A shared machine stalls now and then; a stall is not a failure of the code under test.
settings.register_profile("secateur", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("secateur")


def pytest_report_header() -> str:
    return f"secateur: seed {SEED} (SECATEUR_SEED explores others), torch {torch.__version__}"


@pytest.fixture(autouse=True)
def repeatable() -> None:
    """One seed for everything that draws, and one thread, so that a failure can be replayed."""
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002  scikit-learn and scipy draw from the global generator
    torch.manual_seed(SEED)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def poisoned_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fill uninitialised tensors, so that an output element nobody wrote cannot look right.

    torch's own fill covers what the dispatcher allocates, with NaN (or the largest integer). The
    shim that compiled ops allocate through, and their scratch, take memory from malloc, which
    glibc fills with 0xFE: -1.7e38 as float, far from any right answer.
    """
    if request.node.get_closest_marker("unpoisoned"):
        yield
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    torch.use_deterministic_algorithms(True)
    if mallopt is not None:
        mallopt(M_PERTURB, 0x01)
    yield
    if mallopt is not None:
        mallopt(M_PERTURB, 0)
    torch.use_deterministic_algorithms(False)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is marked `verify` unless it was asked for."""
    if os.environ.get(VERIFY, "") not in ("", "0"):
        return
    heavy = [item for item in items if item.get_closest_marker("verify")]
    if heavy:
        config.hook.pytest_deselected(items=heavy)
        items[:] = [item for item in items if item not in heavy]
