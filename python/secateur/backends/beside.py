"""What is derived from a tensor once, kept on that tensor: it goes where the tensor goes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

T = TypeVar("T")
_NAME = "_secateur_beside"


class _Beside:
    """Things made from one version of a tensor. A copy or a pickle begins empty."""

    def __init__(self) -> None:
        self.version = -1
        self.things: dict[object, object] = {}

    def __deepcopy__(self, _: object) -> _Beside:
        return _Beside()

    def __reduce__(self) -> tuple[type[_Beside], tuple[()]]:
        return _Beside, ()


def beside(tensor: Tensor, make: Callable[[Tensor], T]) -> T:
    """Return make(tensor), made anew only where `tensor` was written to since.

    Reading an index waits for its device, and converting a bias is a launch, which a call must not
    do each time; a cache outside of the tensor would outlive it.

    Args:
        tensor: of a layer.
        make: a function of a module, which keeps no state; or a partial of one, told apart by its
            first argument.
    """
    found = getattr(tensor, _NAME, None)
    key: object = (make.func, make.args[:1]) if isinstance(make, functools.partial) else make
    if not isinstance(found, _Beside):
        found = _Beside()
        setattr(tensor, _NAME, found)
    version = -1 if tensor.is_inference() else tensor._version
    if found.version != version:
        found.version = version
        found.things.clear()
    if key not in found.things:
        found.things[key] = make(tensor)
    return found.things[key]  # type: ignore[return-value]


def held(tensor: Tensor) -> int:
    """Return the bytes of the tensors kept beside `tensor` now, in tuples too."""
    found = getattr(tensor, _NAME, None)
    return sum(map(_bytes, found.things.values())) if isinstance(found, _Beside) else 0


def _bytes(thing: object) -> int:
    if isinstance(thing, Tensor):
        return thing.nbytes
    return sum(map(_bytes, thing)) if isinstance(thing, tuple) else 0
