"""Docstrings: every example in the bridge's own is run; the client's need a bridge, see there."""

import doctest
import importlib
import pkgutil

import pytest

import bridge

MODULES = [
    found.name
    for found in pkgutil.walk_packages(bridge.__path__, "bridge.")
    if not found.name.startswith(("bridge.client", "bridge._config"))
    and not found.name.endswith("__main__")
]


def test_there_are_examples_to_run() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name))]
    assert sum(bool(test.examples) for test in found) >= 5


@pytest.mark.parametrize("name", MODULES)
def test_every_example_gives_what_it_says(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0
