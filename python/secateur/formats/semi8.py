"""The semi8 format: 2:4 (2 KEPT of 4) in the order of torch and CUTLASS for int8 values.

Values are `packed`, [M, K / 2] row after row, as in semi; only the metadata differ: int32 words of
eight groups. With M and K padded to 32 and 128, the word of row m and columns k to k + 31 is
(k / 64) * 2 M + (m / 16) * 32 + (m % 8) * 4 + (k / 32) % 2 * 2 + (m / 8) % 2.

Pack int8; or the floating weight, and round its values afterwards: `SparseLinear.store` does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.formats._pairs import Pairs
from secateur.formats.base import FORMATS, Packed


class Semi8(Pairs):
    """torch's semi-structured order of int8."""

    name = "semi8"
    code = 8
    column_tile = 128
    nibbles_of_word = 8
    also = (torch.int8,)

    def order_values(self, compressed: Tensor) -> Tensor:
        """Row after row."""
        return compressed.reshape(-1)

    def order_words(self, words: Tensor) -> Tensor:
        """Return the words as CUTLASS reorders them."""
        rows, columns = words.shape
        parts = words.view(rows // 16, 2, 8, columns // 2, 2)
        return parts.permute(3, 0, 2, 4, 1).reshape(-1)

    def to_torch(self, packed: Packed) -> tuple[Tensor, Tensor]:
        """Return (packed, meta) as torch's semi-structured ops take them: views, not copies."""
        rows, columns = self.padded(packed.out_features, packed.in_features)
        values = packed.values[: rows * columns // 2].view(rows, columns // 2)
        return values, self.metadata(packed.index).view(rows, -1)


FORMATS.register("semi8")(Semi8())
