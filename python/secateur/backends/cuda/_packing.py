"""2:4 weights packed and unpacked in one pass of a kernel, where there is one; else by torch.

The bytes are those of the definition in secateur.formats, and so are the errors: a kernel adds to a
word of faults, and what is wrong is then looked up by the definition's own checks. Reading that
word is the one wait for the device.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from secateur.backends import gpus
from secateur.backends.candidates import HALVES
from secateur.backends.cuda import _library
from secateur.formats._pairs import DAMAGED, Pairs, packer
from secateur.formats.header import HEADER_BYTES

# What the kernels of a layout read as the format has it: words of metadata depend on the type.
_TYPES = {
    "semi": ("torch24", HALVES),
    "semi_frag": ("fragment24", HALVES),
    "semi8": ("torch24", frozenset({torch.int8})),
}
_LIBRARY: Any = torch.library.Library("secateur", "IMPL")


def register() -> None:
    """Give the ops of packing what they run on CUDA devices; once a process."""
    _LIBRARY.impl("pairs_pack", pack, "CUDA")
    _LIBRARY.impl("pairs_unpack", unpack, "CUDA")


def named(op: str, format: str, dtype: torch.dtype, device: torch.device) -> str:
    """Return the kernels of an op for a format, names parted by commas; "" where there is none.

    Args:
        op: "nm_pack" or "nm_unpack".
        format: of 2:4.
        dtype: of the weight.
        device: that holds it.
    """
    layout, dtypes = _TYPES.get(format, ("", frozenset()))
    if dtype not in dtypes:
        return ""
    found = _library.of_op(op, layout)
    if not found:
        return ""
    capability = gpus.of(device.index or 0).capability
    return ",".join(kernel.name for kernel in found if kernel.capability <= capability)


def pack(weight: Tensor, mask: Tensor | None, format: str) -> tuple[Tensor, Tensor]:
    """Return values and index of a weight; see `secateur.formats._pairs_ops.pack`.

    Raises:
        ValueError: if the mask keeps three or four of a group, or there is a NaN to be ranked.
    """
    into = packer(format)
    kernels = named("nm_pack", format, weight.dtype, weight.device)
    if not kernels:
        return into.packed_by_torch(weight, mask)
    values, index = into.blank(weight, mask)
    faults = _no_faults(weight)
    torch.ops.secateur.cuda_nm_pack(
        kernels,
        _in_rows(weight),
        None if mask is None else _in_rows(mask).view(torch.uint8),
        values,
        index,
        faults,
        HEADER_BYTES,
        *into.padded(*weight.shape),
        mask is None,
    )
    if int(faults):
        _say_why(into, weight, mask)
    return values, index


def unpack(
    values: Tensor, index: Tensor, out_features: int, in_features: int, format: str
) -> Tensor:
    """Return the dense weight; see `secateur.formats._pairs_ops.unpack`.

    Raises:
        ValueError: if the metadata are damaged.
    """
    into = packer(format)
    kernels = named("nm_unpack", format, values.dtype, values.device)
    if not kernels:
        return into.unpacked_by_torch(values, index)
    faults = _no_faults(values)
    weight: Tensor = torch.ops.secateur.cuda_nm_unpack(
        kernels,
        values.contiguous(),
        index.contiguous(),
        faults,
        HEADER_BYTES,
        out_features,
        in_features,
        *into.padded(out_features, in_features),
    )
    if int(faults):
        raise ValueError(DAMAGED)
    return weight


def _no_faults(beside: Tensor) -> Tensor:
    return beside.new_zeros(1, dtype=torch.int32)


def _in_rows(matrix: Tensor) -> Tensor:
    """Return a matrix itself where its columns lie side by side in rows apart, else a copy."""
    rows, columns = matrix.shape
    side_by_side = columns == 1 or matrix.stride(1) == 1
    apart = rows == 1 or matrix.stride(0) >= columns
    return matrix if side_by_side and apart else matrix.contiguous()


def _say_why(into: Pairs, weight: Tensor, mask: Tensor | None) -> None:
    """Raise what the definition's check says of a weight in which a kernel found a fault."""
    if mask is None:
        into.check_ranked(weight)
    else:
        into.check_fits(mask)
    raise RuntimeError(
        f"{into.name}: the kernel found a fault that torch does not see in the "
        f"{'weight' if mask is None else 'mask'}: was it written to meanwhile, on another stream?"
    )
