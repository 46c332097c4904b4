"""2:4 weights in fragment order, permuted element by element from what torch's converter packed.

csrc/cuda/nm_linear/nm_linear.h says the order in words; here it is where each place comes from.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.support.cuda import torch24


def pack(weight: Tensor, in_multiple: int | None = None) -> tuple[Tensor, Tensor]:
    """Return values [out / 32, tiles, 2, 32, n] and metadata of a weight that is 2:4.

    n is 8, of int8 16; the metadata are int32, [out / 32, tiles, 32], of int8 [out / 32, tiles, 32,
    2]. Rows are padded to 32.

    Args:
        weight: [out, in]: float16, bfloat16 or int8, at most two of every four not zero.
        in_multiple: what its columns are padded to; by default the least, 32, of int8 64.
    """
    int8 = weight.dtype == torch.int8
    values, meta = torch24.pack(weight, 32, in_multiple or (64 if int8 else 32))
    words = meta.contiguous().view(torch.int32).flatten()
    rows, kept = values.shape
    of_tile, of_register = (32, 4) if int8 else (16, 2)
    band, tile, half, lane, place = torch.meshgrid(
        *map(torch.arange, (rows // 32, kept // of_tile, 2, 32, 4 * of_register)), indexing="ij"
    )
    g, t = lane // 4, lane % 4
    register, element = place // of_register, place % of_register
    row = 32 * band + 16 * half + g + 8 * (register % 2)
    column = of_tile * tile + of_tile // 2 * (register // 2) + of_register * t + element
    ordered = values[row, column].contiguous()
    # torch's words are in the order of the lanes already: of 32 rows each, of int8 of 16.
    if int8:
        at = 2 * rows * tile + 32 * (2 * band + half) + lane
        return ordered, words[at[..., 0]].transpose(2, 3).contiguous()
    return ordered, words[(rows * tile + 32 * band + lane)[:, :, 0, :, 0]]
