"""Where the blocks of a bsr index lie, as one number for each block: what block kernels walk.

The bytes of an index say it in counts, which is small and takes a pass over all of them to read.
Nothing here is kept: whoever asks keeps the answer beside the weight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from secateur.formats._gather import Ints
from secateur.formats.bsr import Bsr, read_grid
from secateur.formats.header import Header


class Strips(NamedTuple):
    """The blocks of a weight by strips: its block rows, or its block columns. All int32.

    A strip's blocks follow one another, ascending. A block at an edge is cut off there, so its
    first slot is not a multiple of anything.
    """

    first: Tensor  # [strips + 1], blocks before each strip, and all of them
    across: Tensor  # [blocks], place of the block in its strip, in blocks
    along: Tensor  # [blocks], the strip it is in
    start: Tensor  # [blocks], slot of its first value; the values are not moved
    order: Tensor  # [strips], the strip with most blocks first, ties to the lowest


def bsr_index(index: Tensor) -> Strips:
    """Return the block rows of a weight, on the device of `index`; reads all of it.

    Args:
        index: of a weight packed as bsr.

    Raises:
        TypeError: if `index` is not uint8.
        ValueError: if it is not a bsr index, or damaged.
    """
    rows, columns, starts, (high, _) = _blocks(index)
    return _strips(rows, columns, starts, high, index.device)


def bsr_transposed_index(index: Tensor) -> Strips:
    """Return the block columns of a weight: the strips of its transpose, over the SAME values.

    Args and errors are those of `bsr_index`.
    """
    rows, columns, starts, (_, wide) = _blocks(index)
    return _strips(columns, rows, starts, wide, index.device)


def _blocks(index: Tensor) -> tuple[Ints, Ints, Ints, tuple[int, int]]:
    """Row, column and first slot of every block, and the size of the grid, in blocks."""
    head = Header.read(index)
    if head.format != Bsr.code:
        raise ValueError(
            f"index must be of the format bsr (number {Bsr.code}), got number {head.format}; "
            "pack the weight as bsr"
        )
    grid = read_grid(head, index)
    heights = np.minimum(head.out_features - grid.rows * head.n, head.n)
    sizes = heights * np.minimum(head.in_features - grid.columns * head.m, head.m)
    size = -(-head.out_features // head.n), -(-head.in_features // head.m)
    return grid.rows, grid.columns, np.cumsum(sizes) - sizes, size


def _strips(along: Ints, across: Ints, starts: Ints, count: int, device: torch.device) -> Strips:
    by_strip = np.lexsort((across, along))
    lengths = np.bincount(along, minlength=count)
    first = np.concatenate([[0], np.cumsum(lengths)])
    order = np.argsort(-lengths, kind="stable")
    found = (first, across[by_strip], along[by_strip], starts[by_strip], order)
    return Strips(*(torch.from_numpy(each.astype(np.int32)).to(device) for each in found))
