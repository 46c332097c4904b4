"""Runs the tiled 2:4 products, csrc/cuda/nm_linear/sm80*.cu, on dense weights of the caller's."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support.cuda import build, fragment24, structs, torch24
from tests.support.cuda.emulator import Emulator, Outcome, poisoned
from tests.support.cuda.library import Library

FILES = sorted(Path(build.ROOT, "csrc", "cuda", "nm_linear").glob("sm80*.cu"))
ELSEWHERE = os.environ.get("SECATEUR_EMULATED")  # a build that may have some of them only
PRESENT = {kernel.name for kernel in Library(Path(ELSEWHERE)).kernels()} if ELSEWHERE else None
NAMES = [
    name
    for name in (f"nm_linear_{file.stem}" for file in FILES)
    if PRESENT is None or name in PRESENT
]
HALVES = {"f16": torch.float16, "bf16": torch.bfloat16}
TYPES = {**HALVES, "i8": torch.int8}


@dataclass(frozen=True)
class Call:
    """A product and what is fused to it; shapes as in nm_linear.h.

    Args:
        x: [rows, in], columns side by side.
        weight: [out, in], at most two of every four along a row not zero.
        y_margin: elements behind each row of y and of the residual.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None = None
    residual: Tensor | None = None
    scale: Tensor | None = None
    x_scale: Tensor | None = None
    act: str = "none"
    split: int = 0
    y_margin: int = 0
    changes: dict[str, Tensor | int] = field(default_factory=dict)


def types_of(name: str) -> list[str]:
    """Return the element types of a kernel, by its name."""
    return ["i8"] if "_s8_" in name else list(HALVES)


def pack(name: str, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight's values and metadata in the layout that the kernel reads."""
    if weight.shape[1] == 0:  # torch's converter takes none without columns
        return weight.new_empty(-(-len(weight) // 32) * 32, 0), torch.empty(0, dtype=torch.int32)
    if "_frag_" in name:
        return fragment24.pack(F.pad(weight, (0, -weight.shape[1] % columns_of(weight.dtype))))
    return torch24.pack(weight, 32, columns_of(weight.dtype))


def columns_of(dtype: torch.dtype) -> int:
    """Return what a weight's columns are padded to."""
    return 128 if dtype == torch.int8 else 64


def launch(
    emulator: Emulator,
    name: str,
    call: Call,
    *,
    counted: Collection[str] = (),
    **how: int,
) -> tuple[Tensor, Outcome]:
    """Return y [rows, out] and what the launch did; beside y nothing may have been written.

    `counted` and `how` (seed, resident, times) are those of Emulator.launch.
    """
    x, (rows, out) = call.x, (len(call.x), len(call.weight))
    values, meta = pack(name, call.weight)
    kind = next(word for word, dtype in TYPES.items() if dtype == x.dtype)
    whole = poisoned(rows, out + call.y_margin, dtype=torch.float32 if kind == "i8" else x.dtype)
    y = whole[:, :out]
    in_multiple = columns_of(x.dtype)
    fields: dict[str, Tensor | int | float | None] = {
        "values": values,
        "meta": meta,
        "x": x,
        "y": y,
        "bias": call.bias,
        "residual": call.residual,
        "scale": call.scale,
        "x_scale": call.x_scale,
        "rows": rows,
        "in_features": x.shape[1],
        "out_features": out,
        "padded_in": -(-x.shape[1] // in_multiple) * in_multiple,
        "padded_out": -(-out // 32) * 32,
        "x_stride": x.stride(0),
        "y_stride": whole.shape[1],
        "type": structs.enum("Type")[kind],
        "act": structs.enum("Act")[call.act],
        "split": call.split,
    }
    outcome = emulator.launch(name, {**fields, **call.changes}, counted=counted, **how)
    margin = whole[:, out:].contiguous().view(torch.uint8)
    assert bool((margin == 0xFF).all()), "written behind the rows of y"
    return y, outcome
