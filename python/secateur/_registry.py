"""One registry class for every room whose things are found by file. It holds none itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to things of one kind; importing a file of the room is what registers it.

    Args:
        kind: what the things are called in errors, for example ``"criterion"``.
        packages: dotted names of the rooms. Every module in them that does not start with an
            underscore is imported the first time the registry is asked.
    """

    def __init__(self, kind: str, *packages: str) -> None:
        self.kind = kind
        self.packages = packages
        self._things: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`.

        Raises:
            ValueError: if the name is taken.
        """

        def keep(thing: T) -> T:
            if name in self._things:
                raise ValueError(
                    f"{self.kind} {name!r} is registered already, by {self._things[name]!r}; "
                    "choose another name"
                )
            self._things[name] = thing
            return thing

        return keep

    def get(self, name: str) -> T:
        """Return the thing called `name`.

        Raises:
            ValueError: if there is none; the message lists what there is.
        """
        self._discover()
        if name not in self._things:
            known = ", ".join(sorted(self._things))
            raise ValueError(f"unknown {self.kind} {name!r}; known: {known}")
        return self._things[name]

    def names(self) -> list[str]:
        """Return all names, sorted."""
        self._discover()
        return sorted(self._things)

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        for package in self.packages:
            room = importlib.import_module(package)
            for module in pkgutil.iter_modules(room.__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{package}.{module.name}")
