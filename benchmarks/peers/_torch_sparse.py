"""torch's compressed sparse tensors, as a library to time: one product, several layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from benchmarks.peers import bind_copies
from benchmarks.subject import Binder, Call


def bind(matrix: Tensor, build: Callable[..., Tensor], cold: bool) -> Sequence[Binder]:
    """Return what times matrix @ x.T, once for every copy of the matrix.

    Args:
        matrix: [out, in], of a layout with compressed rows.
        build: the constructor of that layout.
        cold: whether to read it from DRAM.
    """

    def make(rows: Tensor, columns: Tensor, values: Tensor) -> Binder:
        copy = build(rows, columns, values, size=matrix.shape, check_invariants=False)

        def bound(x: Tensor) -> Call:
            transposed = x.t()
            return lambda: copy @ transposed

        return bound

    parts = (matrix.crow_indices().int(), matrix.col_indices().int(), matrix.values())
    return bind_copies(parts, cold, make)
