"""What every launch needs: parts where the grid is small, rows, precision, the end of a sum."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor
from triton.runtime.jit import JITFunction

from secateur.backends.triton.kernels import act as _act
from secateur.formats import bucket

_WAVES = 2  # programs wanted for each multiprocessor
_MOST_PARTS = 16
# Where no device can be asked, as in tracing: those of an A100.
_MULTIPROCESSORS = 108
_ADDED = 1024  # elements of one program of add_parts


def launched(kernel: Any) -> Any:
    """Return `kernel` as it is called, in a way that torch.compile can trace."""
    # A tuned kernel holds the compiled one; one that is not tuned is the compiled one.
    compiled = isinstance(kernel, JITFunction) or isinstance(kernel.fn, JITFunction)
    return torch.library.wrap_triton(kernel) if compiled else kernel


def precision(*tensors: Tensor) -> str:
    """Return "ieee" where float32 is multiplied exactly, "tf32" where torch's own matmul may not.

    Shorter types are multiplied exactly by tensor cores, whatever the word; theirs is "tf32".
    """
    cuda: Any = torch.backends.cuda.matmul
    exact = any(t.dtype == torch.float32 for t in tensors) and cuda.fp32_precision != "tf32"
    return "ieee" if exact else "tf32"


@functools.cache
def multiprocessors(device: torch.device) -> int:
    """Return how many programs run side by side on a device, at the least."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return _MULTIPROCESSORS
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def parts(programs: int, steps: int, device: torch.device) -> int:
    """Return into how many parts a sum is cut: a power of two, 1 where the grid is large.

    Args:
        programs: of the grid without parts.
        steps: of the longest sum; a part has at least four.
        device: that runs it.
    """
    wanted = _WAVES * multiprocessors(device) // max(1, programs)
    most = min(wanted, steps // 4, _MOST_PARTS)
    return 1 << max(1, most).bit_length() - 1


@dataclass(frozen=True)
class Tail:
    """What is done to a sum before it is stored."""

    bias: Tensor | None = None
    residual: Tensor | None = None
    act: str = "none"


def add_parts(partial: Tensor, y: Tensor, size: int, columns: int, tail: Tail) -> None:
    """Add the sheets of `partial` ([parts, size]) in one order, and write y in place."""
    launched(_act.add_parts)[(triton.cdiv(size, _ADDED),)](
        partial,
        y,
        tail.bias,
        tail.residual,
        size,
        columns,
        PARTS=partial.shape[0],
        ACT=tail.act,
        B=_ADDED,
    )


def sheets(count: int, size: int, device: torch.device) -> Tensor | None:
    """Return room for `count` parts of `size` sums each; None for one, which needs none."""
    if count == 1:
        return None
    return torch.empty((count, size), dtype=torch.float32, device=device)


def as_rows(tensor: Tensor) -> Tensor:
    """Return [rows, features] with features side by side; rows may lie apart, as in a slice."""
    flat = tensor.reshape(-1, tensor.shape[-1])
    return flat if flat.stride(1) == 1 or flat.shape[1] == 1 else flat.contiguous()


def row_bucket(rows: int) -> int:
    """Return what of a row count decides the tuning, as verdicts are kept: powers of two."""
    return bucket(rows)
