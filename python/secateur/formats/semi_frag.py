"""The semi_frag format: 2:4 (2 KEPT of 4), every lane's operand of mma.sp in one piece.

One layout for one row of x and for a thousand. The decode kernel (1 to 16 rows) streams it from
memory, 16 bytes a lane and no shared memory; the matrix product of many rows copies a tile's 512
contiguous bytes by cp.async and reads them by one 16-byte load a lane, without ldmatrix.

With M and K the sides of the weight, padded to 32 and 64, the values are
[M / 32][K / 32][2][32 lanes][8]: tiles of 32 rows and 32 columns, of which 16 are kept; the two
halves of 16 rows; and for lane 4 g + t (g < 8, t < 4) its fragment of m16n8k32: register
r = 2 * c + h8 holds row g + 8 * h8 of the half, kept columns 8 * c + 2 * t and the next. The
metadata are one 32-bit word for each lane and tile, [M / 32][K / 32][32 lanes]: lane
4 g + 2 s + c (s < 2, c < 2) holds for half s and columns 16 * c to 16 * c + 15 four nibbles of row
g, and above them those of row g + 8. Selector s of mma.sp reads half s.
"""

from __future__ import annotations

from torch import Tensor

from secateur.formats._pairs import Pairs
from secateur.formats.base import FORMATS


class SemiFrag(Pairs):
    """2:4 in the order of tensor-core fragments."""

    name = "semi_frag"
    code = 9

    def divides(self, mask: Tensor, groups: int) -> bool:
        """Tell whether no tile has rows of two groups; see `Format.divides`."""
        return groups == 1 or len(mask) // groups % self.row_tile == 0

    def order_values(self, compressed: Tensor) -> Tensor:
        """Return the values tile by tile, half by half, lane by lane."""
        rows, columns = compressed.shape
        parts = compressed.reshape(rows // 32, 2, 2, 8, columns // 16, 2, 4, 2)
        return parts.permute(0, 4, 1, 3, 6, 5, 2, 7).reshape(-1)

    def order_words(self, words: Tensor) -> Tensor:
        """Return the 16-bit words tile by tile, two for each lane."""
        rows, columns = words.shape
        parts = words.view(rows // 32, 2, 2, 8, columns // 2, 2)
        return parts.permute(0, 4, 3, 1, 5, 2).reshape(-1)


SEMI_FRAG = SemiFrag()
FORMATS.register("semi_frag")(SEMI_FRAG)
