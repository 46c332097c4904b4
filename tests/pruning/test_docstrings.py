"""The examples in the docstrings of pruning run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import secateur.pruning

ROOM = secateur.pruning
MODULES = [module.name for module in pkgutil.walk_packages(ROOM.__path__, f"{ROOM.__name__}.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0, "the examples that failed are printed above"


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES]
    assert any(test.examples for module in modules for test in finder.find(module))
