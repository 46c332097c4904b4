"""The kernel of masked_linear_dw, declared.

The op masked_linear returns the masked weight beside y, so the kernels that never write one cannot
stand in for it: `_masked_linear.masked_linear` and `masked_linear_dx` are called as they are.
"""

from __future__ import annotations

from secateur.backends.triton.table import Entry, add

add(Entry("masked_linear_dw", "secateur.backends.triton._masked_linear", "masked_linear_dw"))
