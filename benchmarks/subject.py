"""The thing under test: a random sparse weight, packed, and the calls that are timed."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.bounds import Work
from benchmarks.cases import BLOCK, COLD_BYTES, Case, Measured, parse_nm
from benchmarks.machine import caches

Call = Callable[[], object]
Binder = Callable[[Tensor], Call]
"""Takes x, shape [rows, in_features], and returns the call to time."""


@dataclass(frozen=True)
class Subject:
    """One pruned and packed weight.

    Args:
        pruned: makes the dense weight with its pruned positions zero, [out_features, in_features];
            kept, those of a large layer's cases would not fit in memory together.
        nonzeros: value slots in use.
        packed_bytes: bytes of the packed tensors.
        read_bytes: bytes of them that one call must read: all but the padding of the values.
        binders: one per copy.
        kernel: tells which kernel serves a number of rows.
    """

    pruned: Callable[[], Tensor]
    nonzeros: int
    packed_bytes: int
    read_bytes: int
    binders: Sequence[Binder]
    kernel: Callable[[int], str]

    def work(self, case: Measured) -> Work:
        """What one call of `case` must do."""
        return Work(self.nonzeros, self.read_bytes, case)


class NoKernel(Exception):
    """Why a case cannot be measured: nothing compiled takes its type of values."""


def formats(case: Case) -> list[str]:
    """Return the packed formats that `convert` would measure for a weight and rows like these."""
    packing: Any = importlib.import_module("secateur.nn.packing")
    found: list[str] = packing.candidates(make_mask(case), inferred=False, rows=[case.rows])
    return found if case.pattern == "csr" else found[:1]


def forced(kernel: str | None) -> AbstractContextManager[object]:
    """Return what makes the kernel of this name run wherever it can; None leaves the choice."""
    if kernel is None:
        return nullcontext()
    cpu: Any = importlib.import_module("secateur.backends.cpu")
    made: AbstractContextManager[object] = cpu.forced(kernel)
    return made


def make(case: Case, weight: Tensor, name: str) -> Subject:
    """Prune `weight` at random to the case's pattern and pack it.

    Args:
        case: pattern, sparsity, values and shape; the number of rows does not matter here.
        weight: dense, shape [out_features, in_features]; not changed.
        name: of the packed format.

    Raises:
        NoKernel: if a call would run the reference, or nothing.
    """
    # Imported by name: the modules beside this one are tested without the packed formats.
    packed_formats: Any = importlib.import_module("secateur.formats")
    importlib.import_module(f"secateur.ops.{name}_linear")

    mask = make_mask(case)
    stored, scale = narrowed(weight, case.values)
    packed = packed_formats.FORMATS.get(name).pack(stored, mask)
    header = packed_formats.Header.read(packed.index)
    op = getattr(torch.ops.secateur, f"{name}_linear_infer").default
    values = packed.values.to(torch.int8) if case.values == "int8" else packed.values
    parts = (values, packed.index) if scale is None else (values, packed.index, scale)
    sets = copies(parts, case.cold)
    binders = [binder(op, case.out_features, *each) for each in sets]
    if case.values != "fp32":
        check_kernel(binders[0], case)

    def pruned() -> Tensor:
        again, scale = narrowed(weight, case.values)
        exact = again.float() if scale is None else again * scale[:, None]
        return exact * make_mask(case)

    return Subject(
        pruned=pruned,
        nonzeros=header.nnz,
        packed_bytes=sum(part.nbytes for part in parts),
        read_bytes=header.nnz * values.itemsize + sum(part.nbytes for part in parts[1:]),
        binders=binders,
        kernel=lambda rows: kernel_name(
            f"{name}_linear", packed.index, rows, plain=case.values == "fp32"
        ),
    )


def narrowed(weight: Tensor, values: str) -> tuple[Tensor, Tensor | None]:
    """Return `weight` as it is packed, and for int8 the scale of each row, [out], float32.

    int8 values come as whole numbers in float32, which is what packs; the largest of a row is 127.
    """
    if values != "int8":
        kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        return weight.to(kinds[values]), None
    scale = weight.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return (weight / scale[:, None]).round(), scale


def check_kernel(binder: Binder, case: Case) -> None:
    """Call once, and look whether compiled code ran: a reference's speed is not worth a line.

    Raises:
        NoKernel: if it did not.
    """
    x = torch.ones(1, case.in_features)
    try:
        with torch.inference_mode(), torch.autograd.profiler.profile(use_kineto=False) as seen:
            binder(x)()
    except (RuntimeError, TypeError, ValueError) as error:
        raise NoKernel("no kernel takes these values (the op refuses them)") from error
    if any(event.name.endswith("_reference") for event in seen.function_events):
        raise NoKernel("no kernel takes these values (the reference would run)")


def make_mask(case: Case) -> Tensor:
    """Return a random mask of the case's pattern, shape [out_features, in_features]; not a copy."""
    return _mask((case.out_features, case.in_features), case.pattern, case.sparsity)


@functools.lru_cache(maxsize=6)
def _mask(shape: tuple[int, int], pattern: str, sparsity: float) -> Tensor:
    generator = torch.Generator().manual_seed(shape[0] * 7919 + shape[1])
    if pattern == "csr":
        return torch.rand(shape, generator=generator) >= sparsity
    if pattern == "rows":
        return _crossed(shape, sparsity, generator)
    if pattern == "blocks":
        blocks = torch.rand((-(-shape[0] // BLOCK), shape[1]), generator=generator) >= sparsity
        return blocks.repeat_interleave(BLOCK, 0)[: shape[0]]
    kept, group = parse_nm(pattern)
    scores = torch.rand((shape[0] * shape[1] // group, group), generator=generator)
    best = scores.topk(kept, dim=1).indices
    return torch.zeros(scores.shape, dtype=torch.bool).scatter_(1, best, True).view(shape)


def _crossed(shape: tuple[int, int], sparsity: float, generator: torch.Generator) -> Tensor:
    """Keep equal shares of the rows and of the columns, at random."""
    kept = []
    for size in shape:
        count = max(1, round(size * math.sqrt(1 - sparsity)))
        kept.append(torch.randperm(size, generator=generator).argsort() < count)
    return kept[0][:, None] & kept[1]


def copies(tensors: tuple[Tensor, ...], cold: bool) -> list[tuple[Tensor, ...]]:
    """Return the tensors, and for a cold case as many copies as it takes to exceed the caches."""
    if not cold:
        return [tensors]
    space = max(COLD_BYTES, 2 * caches().l3)
    count = math.floor(space / sum(tensor.nbytes for tensor in tensors))
    return [tensors] + [tuple(t.clone() for t in tensors) for _ in range(count)]


def kernel_name(op: str, index: Tensor, rows: int, *, plain: bool = True) -> str:
    """Return the kernel that serves this weight, "reference" where none was compiled, or "torch".

    `plain` tells whether its values are float32.
    """
    packing: Any = importlib.import_module("secateur.nn.packing")
    if op.partition("_")[0] in packing.BY_TORCH:
        return "torch"
    cpu: Any = importlib.import_module("secateur.backends.cpu")
    return str(cpu.pick(op, index, rows, plain=plain))


def check(y: Tensor, x: Tensor, weight: Tensor) -> None:
    """Compare a few rows of y with x @ weight.T in double precision.

    The bound is (k + 2) eps |x| @ |W|.T, which every order of summation keeps.

    Raises:
        ValueError: if any element is further away, or is not a number.
    """
    some = sorted({0, len(x) // 2, len(x) - 1})
    got, inputs, exact = y[some].double(), x[some].double(), weight.double()
    far = (got - inputs @ exact.T).abs()
    size = inputs.abs() @ exact.abs_().T
    allowed = (exact.shape[1] + 2) * torch.finfo(x.dtype).eps * size
    if not bool((far <= allowed).all()):
        raise ValueError(
            f"the sparse result for x {list(x.shape)} and weight {list(weight.shape)} is wrong: "
            f"off by up to {float(far.max()):.3g}, allowed {float(allowed.max()):.3g}; "
            "run the kernels' tests"
        )


def binder(
    op: Any, out_features: int, values: Tensor, index: Tensor, scale: Tensor | None = None
) -> Binder:
    """Return what takes x and returns a call of the op with everything else absent."""
    rest = (None, None, scale, None, None)

    def bind(x: Tensor) -> Call:
        return lambda: op(x, values, index, *rest, out_features=out_features, act="none")

    return bind
