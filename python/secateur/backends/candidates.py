"""What can run an op on a GPU: one declarative entry each, found by file. Nothing is chosen.

An entry is plain data and functions of numbers, so that it can be asked on any machine about any
GPU. What it needs (a compiled library, Triton, cuSPARSELt) is looked for when it is asked to run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from secateur._registry import Registry
from secateur.backends.convolution import Convolution
from secateur.backends.gpus import Gpu
from secateur.backends.roofline import Work

ANY = 10**9
HALVES = frozenset({torch.float16, torch.bfloat16})
FLOATS = HALVES | {torch.float32}
DENSE = "dense"  # the format of a candidate that multiplies with a dense copy


@dataclass(frozen=True)
class Problem:
    """One call, as far as it decides which candidate runs it.

    Attributes:
        rows: of x after flattening; of a convolution, pixels of y.
        out_features: of the weight.
        in_features: of the weight.
        density: fraction of the weight that is stored.
        dtype: of x.
        values: dtype of the values.
        act: the activation.
        residual: whether one is added.
        pattern: (n, m) as the format means them, (0, 0) where it has none.
        convolution: what makes rows of x; None: the layer is linear.
    """

    rows: int
    out_features: int
    in_features: int
    density: float
    dtype: torch.dtype = torch.float16
    values: torch.dtype = torch.float16
    act: str = "none"
    residual: bool = False
    pattern: tuple[int, int] = (0, 0)
    convolution: Convolution | None = None

    @classmethod
    def of_convolution(
        cls, convolution: Convolution, out_channels: int, density: float, **rest: Any
    ) -> Problem:
        """Return the call of a convolution; `rest` are attributes too."""
        sides = (convolution.rows, out_channels, convolution.columns)
        return cls(*sides, density, **rest, convolution=convolution)

    @property
    def work(self) -> Work:
        """What the cost model sees of it."""
        work = Work(
            self.rows, self.out_features, self.in_features, self.density, self.values.itemsize
        )
        if self.convolution is None:
            return work
        return replace(work, read=self.convolution.elements, groups=self.convolution.groups)


@dataclass(frozen=True)
class Operands:
    """The tensors of one call.

    Attributes:
        x: [rows, in], columns side by side; of a convolution [N, C, H, W], as it came.
        values: of the packed weight.
        index: of the packed weight.
        bias: [out], or None.
        residual: [rows, out], of a convolution [N, out, H', W'], or None.
        scale: [out], float32, with int8 values.
        dense: [out, in], of a convolution [out, C / groups, kh, kw], or None.
        out_features: rows of the weight.
        act: the activation.
        convolution: what makes rows of x; None: the layer is linear.
        residual_first: whether the residual is added before the activation.
    """

    x: Tensor
    values: Tensor
    index: Tensor
    bias: Tensor | None
    residual: Tensor | None
    scale: Tensor | None
    dense: Tensor | None
    out_features: int
    act: str
    convolution: Convolution | None = None
    residual_first: bool = False


def _nothing(_: Problem, __: Gpu) -> str | None:
    return None


def _here() -> str:
    return ""


@dataclass(frozen=True)
class Candidate:
    """One way to run a linear op, or a convolution.

    Attributes:
        name: of its own, for listings and verdicts.
        format: packed format that it reads, or `DENSE`.
        dtypes: of x; the values have the same, or int8 where `int8` is set.
        predict: seconds, by the cost model.
        run: with the tensors of a call, y [rows, out] of x's dtype; of a convolution
            [N, out, H', W'], channels_last.
        capability: lowest and highest compute capability, inclusive.
        rows: fewest and most rows of x, inclusive.
        limits: why it cannot run a problem that all else fits, in words, or None.
        missing: why what it needs is not installed here, and what to do; "" where it is.
        int8: whether it multiplies int8 values.
        fused: whether it applies the activation and adds the residual; others do neither.
        convolves: whether it runs convolutions, and no linear layer.
    """

    name: str
    format: str
    dtypes: frozenset[torch.dtype]
    predict: Callable[[Work, Gpu], float]
    run: Callable[[Operands], Tensor]
    capability: tuple[int, int] = (80, ANY)
    rows: tuple[int, int] = (0, ANY)
    limits: Callable[[Problem, Gpu], str | None] = _nothing
    missing: Callable[[], str] = _here
    int8: bool = False
    fused: bool = True
    convolves: bool = False

    def refuses(self, problem: Problem, gpu: Gpu) -> str | None:
        """Return why it cannot run `problem` on `gpu` though it be installed, or None."""
        low, high = self.capability
        if not low <= gpu.capability <= high:
            return f"needs compute capability {_range(low, high)}, {gpu.name} has {gpu.capability}"
        if problem.dtype not in self.dtypes:
            return f"takes x of {_names(self.dtypes)}, got {problem.dtype}"
        wanted = torch.int8 if self.int8 else problem.dtype
        if problem.values != wanted and self.format != DENSE:
            return f"takes values of {wanted}, got {problem.values}"
        fewest, most = self.rows
        if not fewest <= problem.rows <= most:
            return f"takes {_range(fewest, most)} rows of x, got {problem.rows}"
        return self.limits(problem, gpu)


CANDIDATES: Registry[Candidate] = Registry(
    "candidate", "secateur.backends.cuda", "secateur.backends.vendor"
)


def add(candidate: Candidate) -> Candidate:
    """File a candidate under its name."""
    return CANDIDATES.register(candidate.name)(candidate)


def candidates(format: str, *, convolves: bool = False) -> list[Candidate]:
    """Return the candidates of our own files and the vendors' that read `format`, by name."""
    found = [CANDIDATES.get(name) for name in CANDIDATES.names()]
    return [each for each in found if (each.format, each.convolves) == (format, convolves)]


def _range(low: int, high: int) -> str:
    return f"{low} or more" if high >= ANY else f"{low} to {high}"


def _names(dtypes: frozenset[torch.dtype]) -> str:
    return " or ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
