"""Packing and unpacking 2:4 weights by kernels of nm_pack and nm_unpack; and what must come out."""

from __future__ import annotations

import ctypes
import mmap
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support.cuda import fragment24, structs, torch24
from tests.support.cuda.emulator import Emulator, Outcome, poisoned

TYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "i8": torch.int8}
KERNELS = [(layout, kind) for layout in ("torch24", "fragment24") for kind in TYPES]
_SIGN = {torch.int16: -(2**15), torch.int8: 0}  # bits of a zero that are not zero
ROWS, COLUMNS = 32, 64  # what a weight is padded to


@dataclass(frozen=True)
class Packed:
    """What a launch of nm_pack wrote and did.

    Args:
        values: 1-D, in the layout's order.
        meta: 1-D, int32.
        faults: the word of faults.
        outcome: of the launch.
    """

    values: Tensor
    meta: Tensor
    faults: int
    outcome: Outcome


def sides(shape: torch.Size) -> dict[str, int]:
    """Return the fields that say how large a weight is."""
    out, in_ = shape
    return {
        "out_features": out,
        "in_features": in_,
        "padded_out": -(-out // ROWS) * ROWS,
        "padded_in": -(-in_ // COLUMNS) * COLUMNS,
    }


def pack(
    emulator: Emulator,
    layout: str,
    weight: Tensor,
    mask: Tensor | None = None,
    *,
    prune: bool = False,
    counted: tuple[str, ...] = (),
) -> Packed:
    """Pack [out, in] by the kernel of a layout; every byte of the results was NaN before."""
    size = sides(weight.shape)
    slots = size["padded_out"] * size["padded_in"] // 2
    values = poisoned(slots, dtype=weight.dtype)
    meta = poisoned(slots // 16, dtype=torch.int32)
    faults = torch.zeros(1, dtype=torch.int32)
    outcome = emulator.launch(
        f"nm_pack_{layout}",
        {
            "weight": weight,
            "mask": None if mask is None else mask.view(torch.uint8),
            "values": values,
            "meta": meta,
            "faults": faults,
            **size,
            "weight_stride": weight.stride(0),
            "mask_stride": 0 if mask is None else mask.stride(0),
            "type": _type(weight.dtype),
            "prune": int(prune),
        },
        seed=1,
        counted=counted,
    )
    return Packed(values, meta, int(faults), outcome)


def unpack(
    emulator: Emulator,
    layout: str,
    packed: tuple[Tensor, Tensor],
    weight: Tensor,
    *,
    counted: tuple[str, ...] = (),
) -> tuple[int, Outcome]:
    """Write into `weight` [out, in] what was packed; return the word of faults and the outcome."""
    values, meta = packed
    faults = torch.zeros(1, dtype=torch.int32)
    fields = {
        "values": values,
        "meta": meta,
        "weight": weight,
        "faults": faults,
        **sides(weight.shape),
        "weight_stride": weight.stride(0),
        "type": _type(weight.dtype),
    }
    outcome = emulator.launch(f"nm_unpack_{layout}", fields, counted=counted)
    return int(faults), outcome


def far_apart(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Return zeros [rows, columns] whose rows are 2^31 elements and a few apart.

    The memory between the rows is never touched, and so never there.
    """
    stride = 2**31 + 8
    whole = mmap.mmap(-1, (stride * (rows - 1) + columns) * dtype.itemsize)
    flat = torch.frombuffer(whole, dtype=dtype)
    return flat.as_strided((rows, columns), (stride, 1))


def most_tiles(op: str, over: int) -> ctypes.Structure:
    """Return arguments of a weight of 2^31 + 2 `over` tiles; no pointer is followed."""
    made = structs.args_of(op)()
    made.padded_out, made.padded_in = 32 * (2**30 + over), 64  # two tiles side by side
    made.type = _type(torch.float16)
    return made


def expected(layout: str, weight: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return values and metadata (int32) as torch's own converter has them, in order of `layout`.

    Args:
        layout: of nm_pack.
        weight: [out, in].
        mask: what is kept; what is not zero if None.
    """
    # The converter looks for what is not zero: kept zeros go through it as another number, and only
    # bits are copied, which torch.where on floats does not promise of a NaN.
    mask = weight != 0 if mask is None else mask
    bits = _bits(weight)
    marker = _bits(torch.full_like(weight, 99.0))
    dense = torch.where(mask, bits, torch.zeros_like(bits))
    dense = torch.where(mask & (weight == 0), marker ^ (bits & _SIGN[bits.dtype]), dense)
    # A bfloat16 is zero where a float16 of the same bits is, and gather changes a NaN of the first.
    through = torch.float16 if weight.dtype == torch.bfloat16 else weight.dtype
    padded = F.pad(dense.view(through), (0, -dense.shape[1] % COLUMNS))
    fragments = layout == "fragment24"
    values, meta = fragment24.pack(padded) if fragments else torch24.pack(padded, ROWS)
    values = values.reshape(-1).view(weight.dtype)
    found = _bits(values)
    zero = values.abs() == 99
    values = torch.where(zero, found & _SIGN[bits.dtype], found).view(weight.dtype)
    return values, meta.reshape(-1).view(torch.int32)


def same(packed: Packed, values: Tensor, meta: Tensor) -> None:
    """Raise unless what was packed is that, bit for bit."""
    packed.outcome.clean()
    assert torch.equal(packed.meta, meta)
    assert torch.equal(_bits(packed.values), _bits(values))


def _bits(values: Tensor) -> Tensor:
    return values.view(torch.int8 if values.dtype.itemsize == 1 else torch.int16)


def _type(dtype: torch.dtype) -> int:
    name = next((name for name, each in TYPES.items() if each == dtype), "f32")
    return structs.enum("Type")[name]
