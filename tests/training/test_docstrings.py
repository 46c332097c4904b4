"""The examples in the docstrings of training run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import secateur.training

MODULES = [module.name for module in pkgutil.iter_modules(secateur.training.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"secateur.training.{name}"))
    assert result.failed == 0, "the examples that failed are printed above"


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(f"secateur.training.{name}") for name in MODULES]
    assert any(test.examples for module in modules for test in finder.find(module))
