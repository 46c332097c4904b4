"""Masks seen as grids of blocks, and the block shape that describes a mask best. No bytes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

_Bools = npt.NDArray[np.bool_]
Shape = tuple[int, int]  # output rows, input columns

# Finer shape to coarser ones that it divides: where the finer wastes too much, so do they.
_COARSER: dict[Shape, tuple[Shape, ...]] = {
    (4, 1): ((8, 1), (4, 4)),
    (8, 1): ((16, 1),),
    (4, 4): ((8, 8),),
    (8, 8): ((16, 16),),
    (16, 16): ((32, 32),),
    (32, 32): ((64, 64),),
    (1, 4): ((1, 8),),
    (1, 8): ((1, 16),),
}
_FINEST: tuple[Shape, ...] = ((4, 1), (1, 4))

# Fillers that blocks may cost over the slots: beyond one in eight, csr (one byte for each weight,
# but no fillers of four bytes and a multiplication) is the better.
_FILLER_LIMIT = 1 / 8


def blocks_kept(mask: _Bools, shape: Shape) -> _Bools:
    """Return which blocks of `mask` [out, in] keep a weight: [ceil(out / r), ceil(in / c)]."""
    found = mask
    for factor in _factors(shape[0]):
        found = _any_row(found, factor)
    for factor in _factors(shape[1]):
        found = _any_row(found.T, factor).T
    return found


def block_slots(blocks: _Bools, shape: Shape, size: tuple[int, ...]) -> int:
    """Return the weights that the kept `blocks` of a weight of `size` (out, in) hold."""
    (r, c), (out, in_) = shape, size
    missing = blocks.shape[1] * c - in_
    widths = np.count_nonzero(blocks, axis=1) * c - blocks[:, -1] * missing
    return int(widths.sum()) * r - int(widths[-1]) * (len(blocks) * r - out)


def infer_shape(mask: Tensor) -> Shape | None:
    """Return the block shape (r, c) that packs `mask` ([out, in], bool) in the fewest slots.

    Of those that need equally many, the one with the fewest blocks. None where every shape would
    spend too much on fillers, or nothing is kept.
    """
    array = mask.detach().cpu().numpy()
    kept = int(np.count_nonzero(array))
    best: tuple[tuple[int, int], Shape] | None = None
    waiting = [((1, 1), array, shape) for shape in _FINEST] if kept else []
    while waiting:
        finer, blocks, shape = waiting.pop()
        if shape[0] > array.shape[0] or shape[1] > array.shape[1]:
            continue
        blocks = blocks_kept(blocks, (shape[0] // finer[0], shape[1] // finer[1]))
        slots = block_slots(blocks, shape, array.shape)
        if slots - kept > _FILLER_LIMIT * slots:
            continue
        cost = slots, int(np.count_nonzero(blocks))
        if best is None or cost < best[0]:
            best = cost, shape
        waiting += [(shape, blocks, coarser) for coarser in _COARSER.get(shape, ())]
    return best and best[1]


def _any_row(mask: _Bools, of: int) -> _Bools:
    """Return, for every `of` rows that follow one another, the columns that any of them has."""
    # Strided "or" of whole arrays: numpy's own reductions take a hundred times as long here.
    found = mask[::of].copy("K")
    for offset in range(1, of):
        part = mask[offset::of]
        found[: len(part)] |= part
    return found


def _factors(number: int) -> list[int]:
    """Return the prime factors, smallest first."""
    found, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return found
