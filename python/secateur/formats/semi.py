"""The semi format: 2:4 (2 KEPT of 4) in the packed and metadata order of torch and CUTLASS.

Bit for bit what torch.sparse.SparseSemiStructuredTensorCUTLASS holds for float16 and bfloat16:
values are `packed`, [M, K / 2] row after row; the metadata are int16 words of four groups,
reordered so that one ldmatrix reads them. With M and K the sides of the weight, padded to 32 and
64, the word of row m and columns k to k + 15 is halfword (m / 8) % 2 of the 32-bit word
(k / 32) * M + (m / 32) * 32 + (m % 8) * 4 + (m % 32 / 16) * 2 + (k / 16) % 2.

Read by torch's own ops (`to_torch` copies nothing) and by the 2:4 matrix product of many rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.formats._pairs import Pairs
from secateur.formats.base import FORMATS, Packed
from secateur.formats.header import HEADER_BYTES, TAIL_BYTES
from secateur.formats.layout import VALUE_PADDING


class Semi(Pairs):
    """torch's semi-structured order."""

    name = "semi"
    code = 7

    def order_values(self, compressed: Tensor) -> Tensor:
        """Row after row."""
        return compressed.reshape(-1)

    def order_words(self, words: Tensor) -> Tensor:
        """Return the words as CUTLASS reorders them."""
        rows, columns = words.shape
        parts = words.view(rows // 32, 2, 2, 8, columns // 2, 2)
        return parts.permute(4, 0, 3, 1, 5, 2).reshape(-1)

    def to_torch(self, packed: Packed) -> tuple[Tensor, Tensor]:
        """Return (packed, meta) as torch's semi-structured ops take them: views, not copies."""
        rows, columns = self.padded(packed.out_features, packed.in_features)
        values = packed.values[: rows * columns // 2].view(rows, columns // 2)
        # By shapes alone, for a header would be read from the GPU.
        words = packed.index[HEADER_BYTES : HEADER_BYTES + rows * columns // 8]
        return values, words.view(torch.int16).view(rows, -1)

    def from_torch(self, values: Tensor, meta: Tensor, shape: tuple[int, int]) -> Packed:
        """Return a copy of torch's `packed` and `meta` as a packed weight.

        Args:
            values: [M, K / 2], float16 or bfloat16, of a SparseSemiStructuredTensorCUTLASS.
            meta: [M, K / 16], int16, of the same.
            shape: (out, in) of the weight; M and K are these, rounded up to 32 and 64.

        Raises:
            TypeError: if `meta` is not int16.
            ValueError: if the shapes differ, or the metadata are not legal.
        """
        rows, columns = self.padded(*shape)
        if meta.dtype != torch.int16:
            raise TypeError(f"meta must be int16, got {meta.dtype}; int8 weights are 'semi8'")
        wanted = ((rows, columns // 2), (rows, columns // 16))
        if (tuple(values.shape), tuple(meta.shape)) != wanted:
            raise ValueError(
                f"values and meta must be {list(wanted[0])} and {list(wanted[1])} for a weight "
                f"{list(shape)}, got {list(values.shape)} and {list(meta.shape)}"
            )
        at_rows, at_columns = self.decoded(meta, shape)
        outside = (at_rows >= shape[0]) | (at_columns >= shape[1])
        if bool(values.reshape(-1)[outside].any()):
            raise ValueError(
                f"values has weights outside of {list(shape)}; pass the shape of the weight"
            )
        copy = values.new_zeros(values.numel() + VALUE_PADDING)
        copy[: values.numel()] = values.detach().reshape(-1)
        index = self._frame(shape, len(outside) - int(outside.sum()), values.device)
        index[HEADER_BYTES:-TAIL_BYTES] = meta.detach().reshape(-1).view(torch.uint8)
        return Packed(self.name, copy, index, shape[1], shape[0])


SEMI = Semi()
FORMATS.register("semi")(SEMI)
