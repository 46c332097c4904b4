"""What type the kept weights are held in, and how they become int8. Arithmetic stays float."""

from __future__ import annotations

import torch
from torch import Tensor

TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int8)


def check(dtype: torch.dtype) -> None:
    """Raise ValueError unless weights can be held in `dtype`."""
    if dtype not in TYPES:
        raise ValueError(f"values: wanted one of {', '.join(map(str, TYPES))}, got {dtype}")


def quantize(values: Tensor, rows: Tensor, out_features: int) -> tuple[Tensor, Tensor]:
    """Return int8 values and the scale of each output: symmetric, the largest weight is 127.

    Args:
        values: floating, [slots and padding].
        rows: the output that each slot in use belongs to, int64.
        out_features: number of outputs.

    Returns:
        int8 like `values`, and float32 [out_features]; an output without weights has scale 1. The
        weight is scale * value, within half a scale of what it was.

    Raises:
        ValueError: if a value is not finite.
    """
    used = values.detach()[: len(rows)].float()
    if not bool(used.isfinite().all()):
        raise ValueError("values: a kept weight is not finite and has no int8 form; mend it first")
    largest = used.new_zeros(out_features).scatter_reduce(0, rows, used.abs(), "amax")
    scale = torch.where(largest > 0, largest / 127, 1.0)
    whole = torch.zeros(len(values), dtype=torch.int8, device=values.device)
    whole[: len(rows)] = (used / scale[rows]).round().clamp(-127, 127).to(torch.int8)
    return whole, scale


def floats(weight: Tensor, scale: Tensor | None) -> Tensor:
    """Return a dense weight [out, in] as numbers: int8 times its scale, others as they are."""
    return weight if scale is None else weight * scale[:, None]
