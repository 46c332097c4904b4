"""The compiled kernels: found, loaded once, or the reason why not. It registers no ops itself."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import torch

_HIDDEN = "SECATEUR_NO_EXTENSION"
_ELSEWHERE = "SECATEUR_EXTENSION"  # path of another build, such as one with sanitizers
_SLOW = (
    "secateur runs its pure-torch reference, which is correct and slow. Install a C++20 compiler "
    "and install secateur again with --no-build-isolation"
)


def load() -> bool:
    """Load the extension if it is there, and say whether it is loaded."""
    return _load() is not None


def reason() -> str:
    """Return why there is no extension, and what to do; empty where it is loaded."""
    if load():
        return ""
    if os.environ.get(_HIDDEN, "") not in ("", "0"):
        return f"the environment variable {_HIDDEN} is set; {_SLOW.split('.')[0]}"
    if not path():
        return f"no compiled kernels were built; {_SLOW}"
    return f"{path()} does not load ({_failure()}); {_SLOW}"


@functools.cache
def path() -> str:
    """Return where the extension lies, or an empty string."""
    if os.environ.get(_ELSEWHERE):
        return os.environ[_ELSEWHERE]
    # An editable install keeps it elsewhere than beside this file; the import system knows where.
    spec = importlib.util.find_spec("secateur._C")
    if spec is not None and spec.origin:
        return spec.origin
    beside = Path(__file__).with_name("_C.so")
    return str(beside) if beside.exists() else ""


def library() -> ctypes.CDLL:
    """Return the loaded extension for calls through ctypes.

    Raises:
        RuntimeError: if there is none.
    """
    loaded = _load()
    if loaded is None:
        raise RuntimeError(reason())
    return loaded


@functools.cache
def function(name: str, returns: type, *arguments: type) -> Callable[..., int] | None:
    """Return a function of the extension for calls through ctypes; None where there is none.

    Args:
        name: as exported; an extension that was built before there was one has none.
        returns: ctypes type of the result.
        arguments: ctypes types.
    """
    if not load():
        return None
    try:
        return ctypes.CFUNCTYPE(returns, *arguments)((name, library()))
    except AttributeError:
        return None


@functools.cache
def _failure() -> str:
    try:
        torch.ops.load_library(path())
    except OSError as error:
        return str(error)
    return ""


@functools.cache
def _load() -> ctypes.CDLL | None:
    if os.environ.get(_HIDDEN, "") not in ("", "0") or not path() or _failure():
        return None
    return ctypes.CDLL(path())
