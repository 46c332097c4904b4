"""What formats do block by block: view tensors as arrays, count, and gather kept weights.

Everything here holds temporaries of one block's size. A layer is packed beside its dense weight,
and at that moment memory is what runs out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from secateur.formats.layout import Layout

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.generic]
Cut = tuple[slice, slice]

MOST_VALUES = 2**31 - 1  # kernels count values in 32 bits


def check_count(nnz: int) -> None:
    """Check that a weight with `nnz` value slots can be packed.

    Raises:
        ValueError: if they are too many.
    """
    if nnz > MOST_VALUES:
        raise ValueError(
            f"the weight keeps {nnz} values, the limit is {MOST_VALUES}; split the layer"
        )


def blocks(layout: Layout, shape: tuple[int, ...]) -> Iterator[Cut]:
    """Yield (rows, columns) of every block of a weight [out, in], in the order of the values."""
    for row_start, row_end in layout.row_spans(shape[0]):
        for k_start, k_end in layout.k_spans(shape[1]):
            yield slice(row_start, row_end), slice(k_start, k_end)


def bools(mask: Tensor) -> Bools:
    """Return `mask` as an array, without a copy where it lies on the CPU."""
    array: Bools = mask.detach().cpu().numpy()
    return array


def numbers(tensor: Tensor) -> Numbers:
    """Return a floating tensor as an array of numbers of its size, which numpy only moves."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
    array: Numbers = tensor.numpy()
    return array


def new_values(weight: Tensor, length: int) -> tuple[Tensor, Numbers]:
    """Return `length` zeros of the weight's dtype, on the CPU, and the array to fill them by."""
    values = torch.zeros(length, dtype=weight.dtype)
    return values, numbers(values)
