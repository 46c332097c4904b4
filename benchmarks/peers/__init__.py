"""What the sparse kernels are compared with: dense baselines, and other sparse libraries.

A library is one file: a function that takes a weight and whether it is to be read from DRAM,
prepares one or more copies, and returns for each a function from x to the call to time; or it
raises `Absent` with the reason why it cannot run here. Registering it is all there is to do.
Libraries of sparse convolutions have a table of their own.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.subject import Binder, Call, check, copies
from secateur._registry import Registry

Prepare = Callable[[Tensor, bool], Sequence[Binder]]
PrepareConv = Callable[[nn.Conv2d, Tensor], Call]
"""Takes a convolution without a bias, pruned, and x [N, C, H, W]; returns the call to time."""

BASELINES: Registry[Prepare] = Registry("dense library", "benchmarks.peers")
"""Dense libraries, on the dense weight. The faster one is what every speed-up is over."""

INT8: Registry[Prepare] = Registry("dense int8 library", "benchmarks.peers")
"""Dense libraries that quantise the dense weight: shown where bytes bind, no speed-up is over."""

PEERS: Registry[Prepare] = Registry("sparse library", "benchmarks.peers")
"""Sparse libraries, on the weight with its pruned positions zero."""

CONVS: Registry[PrepareConv] = Registry("library of sparse convolutions", "benchmarks.peers")
"""Sparse libraries, on convolutions with their pruned positions zero."""


class Absent(Exception):
    """Why a library cannot run here."""


def need(*packages: str) -> None:
    """Check that packages can be imported.

    Raises:
        Absent: naming the first that is not there.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise Absent(f"{package} is not installed")


def bind_copies(
    tensors: Iterable[Tensor], cold: bool, make: Callable[..., Callable[[Tensor], Call]]
) -> list[Binder]:
    """Return make(*tensors), and for a cold case make of as many copies as exceed the caches."""
    return [make(*copy) for copy in copies(tuple(tensors), cold)]


def prepare(
    table: Registry[Prepare], weight: Tensor, cold: bool
) -> tuple[dict[str, Sequence[Binder]], dict[str, str]]:
    """Prepare everything in a table; what computes something else than x Wᵀ is not let in.

    Returns:
        What can run, by name, and for the rest the reason why not.
    """
    ready: dict[str, Sequence[Binder]] = {}
    absent: dict[str, str] = {}
    for name in table.names():
        try:
            binders = table.get(name)(weight, cold)
            if table is not INT8:
                _check_result(binders[0], weight)
            ready[name] = binders
        except Absent as reason:
            absent[name] = str(reason)
    return ready, absent


def prepare_convs(
    conv: nn.Conv2d, pruned: Tensor, x: Tensor, table: Registry[PrepareConv] = CONVS
) -> tuple[dict[str, Call], dict[str, str]]:
    """Prepare every library of sparse convolutions; what computes something else is not let in.

    Args:
        conv: has the geometry; not changed.
        pruned: its weight with zeros, [out, in, kh, kw].
        x: [N, C, H, W].
        table: the libraries.

    Returns:
        What can run, by name, and for the rest the reason why not.
    """
    from benchmarks.conv_subject import right

    ready: dict[str, Call] = {}
    absent: dict[str, str] = {}
    sparse = copy.deepcopy(conv)
    sparse.weight = nn.Parameter(pruned, requires_grad=False)
    for name in table.names():
        try:
            call = table.get(name)(sparse, x)
            made: Any = call()
            if not right(conv, pruned, x, torch.as_tensor(made)):
                name_of = f"{list(pruned.shape)}, stride {list(conv.stride)}, x {list(x.shape)}"
                raise Absent(f"its result for {name_of} is further off than rounding explains")
            ready[name] = call
        except Absent as reason:
            absent[name] = str(reason)
    return ready, absent


def _check_result(binder: Binder, weight: Tensor) -> None:
    """Call a library once on 3 rows; its result may be laid out as [rows, out] or [out, rows]."""
    x = torch.randn((3, weight.shape[1]), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        made: Any = binder(x)()
    made = made[0] if isinstance(made, list) else made
    y = torch.as_tensor(made).reshape(made.shape)
    try:
        check(y if len(y) == 3 else y.T, x, weight)
    except (ValueError, RuntimeError, IndexError) as error:
        raise Absent(f"its result is not x W.T: {error}") from error
