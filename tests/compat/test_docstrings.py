"""The examples in the docstrings of the doors run, and give what they say."""

from __future__ import annotations

import doctest

import pytest

from secateur.compat import torch_prune
from secateur.pruning import adopt


@pytest.mark.parametrize("module", [torch_prune, adopt], ids=lambda m: m.__name__)
def test_examples_run(module: object) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0, "the examples that failed are printed above"
