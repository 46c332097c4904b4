"""Tests of this folder need a GPU; `make gpu` runs them too, with pytest and nothing else."""

from __future__ import annotations

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = "needs a CUDA device and a torch that was built for it"
    here = torch.version.cuda is not None and torch.cuda.is_available()
    for item in items:
        if "gpu" in item.path.parts and item.path.parent.name == "gpu":
            item.add_marker(pytest.mark.gpu)
            if not here:
                item.add_marker(pytest.mark.skip(reason=reason))
