"""What a Triton kernel says of itself before anything is launched. It imports no triton."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from secateur._registry import Registry
from secateur.formats import Header

FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32})
TENSOR_CORES = 80  # mma.sync with fp16, bf16 and tf32, and cp.async


@dataclass(frozen=True)
class Problem:
    """What decides whether a kernel can run a call; known before there are numbers.

    Args:
        x: dtype of the first operand: x, or the gradient of y.
        values: dtype of the second: the values or the weight, or x in a gradient of the values.
        header: of the packed weight; None where the op has none.
    """

    x: torch.dtype
    values: torch.dtype
    header: Header | None = None


def _nothing(_: Problem) -> str | None:
    return None


@dataclass(frozen=True)
class Entry:
    """One kernel, as an implementation of an op.

    Args:
        op: in torch's namespace `secateur`, for example ``"bsr_linear_infer"``.
        module: that holds the function `run`; importing it imports triton.
        function: with the op's arguments and result.
        dtypes: that both operands may have; they have one.
        capability: the least compute capability, 80 for 8.0.
        limits: why the kernel cannot run a problem of these dtypes; None where it can.
    """

    op: str
    module: str
    function: str
    dtypes: frozenset[torch.dtype] = FLOATS
    capability: int = TENSOR_CORES
    limits: Callable[[Problem], str | None] = _nothing

    @property
    def name(self) -> str:
        """Of the kernel, for listings and verdicts."""
        return f"triton_{self.op}"

    @property
    def run(self) -> Callable[..., Any]:
        """The function itself; triton is imported when it is first asked for."""
        found: Callable[..., Any] = getattr(importlib.import_module(self.module), self.function)
        return found

    def refuses(self, problem: Problem, capability: int) -> str | None:
        """Return why the kernel cannot run `problem` on a device of `capability`, or None."""
        if capability < self.capability:
            return f"needs compute capability {self.capability}, the device has {capability}"
        if problem.x != problem.values or problem.x not in self.dtypes:
            known = ", ".join(sorted(map(str, self.dtypes)))
            return f"multiplies two operands of one of {known}, got {problem.x}, {problem.values}"
        return self.limits(problem)


KERNELS: Registry[Entry] = Registry("Triton kernel", "secateur.backends.triton")


def missing() -> str:
    """Return why no Triton kernel can be had here, and what to do; empty where they can."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed; pip install 'secateur[gpu]'"
    return ""


def add(entry: Entry) -> None:
    """File an entry under its op."""
    KERNELS.register(entry.op)(entry)
