"""Groups of four along a row: which two are kept, as nibbles; words of nibbles. Plain torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# For each mask of a group (bit j: position j is kept) its nibble: index of the first value in bits
# 0 and 1, of the second in bits 2 and 3, the first below the second, as mma.sp requires. A group
# that keeps fewer than two is filled up as torch's converter does it. 0 marks three or four kept.
_NIBBLES = (0xE, 0x8, 0x9, 0x4, 0xE, 0x8, 0x9, 0, 0xE, 0xC, 0xD, 0, 0xE, 0, 0, 0)


def behind_groups(matrix: Tensor) -> Tensor:
    """Return the columns of the group that the edge of a matrix cuts; none if it cuts none."""
    return matrix[:, matrix.shape[1] // 4 * 4 :]


def slots(shape: tuple[int, ...], cut: Tensor) -> int:
    """Return how many slots a weight of `shape` has whose last columns, `cut`, are kept so."""
    rows, columns = shape
    slots = rows * (columns // 4) * 2
    if columns % 4:  # of the group that the edge cuts, what lies inside
        slots += int((torch.stack(pair(nibbles_of(cut))) < columns % 4).sum())
    return slots


def largest(weight: Tensor) -> Tensor:
    """Mark the two of largest magnitude in every four along a row that are not zero."""
    rows, columns = weight.shape
    wide = weight.to(torch.int16) if weight.dtype == torch.int8 else weight  # |-128| is no int8
    sizes = F.pad(wide.abs(), (0, -columns % 4)).view(rows, -1, 4)
    best = sizes.argsort(dim=2, descending=True, stable=True)[..., :2]
    kept = torch.zeros_like(sizes, dtype=torch.bool).scatter_(2, best, True)
    return kept.view(rows, -1)[:, :columns] & (weight != 0)


def kept(mask: Tensor) -> Tensor:
    """Return how many every group of four along a row keeps, uint8: [rows, groups]."""
    whole = F.pad(mask, (0, -mask.shape[1] % 4)) if mask.shape[1] % 4 else mask
    return whole.reshape(len(mask), -1, 4).sum(2, dtype=torch.uint8)


def nibbles_of(mask: Tensor) -> Tensor:
    """Return the nibble of every group of four along a row, int64; a cut group counts as pruned."""
    whole = F.pad(mask, (0, -mask.shape[1] % 4)).view(len(mask), -1, 4)
    bits = (whole * torch.tensor([1, 2, 4, 8], device=mask.device)).sum(2)
    return torch.tensor(_NIBBLES, device=mask.device)[bits]


def pair(nibbles: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places of the first and the second value in their group."""
    return nibbles & 3, nibbles >> 2


def compressed(weight: Tensor, nibbles: Tensor) -> Tensor:
    """Return the two values of every group: [rows, columns / 2]."""
    places = torch.stack(pair(nibbles), dim=2)
    return weight.view(len(weight), -1, 4).gather(2, places).view(len(weight), -1)


def words_of(nibbles: Tensor, many: int) -> Tensor:
    """Return words of `many` nibbles, the first lowest: [rows, words], int64."""
    shifts = torch.arange(0, 4 * many, 4, device=nibbles.device)
    return (nibbles.view(len(nibbles), -1, many) << shifts).sum(2)
