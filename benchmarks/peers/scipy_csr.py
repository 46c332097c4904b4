"""scipy's compressed rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from benchmarks.peers import PEERS, bind_copies, need
from benchmarks.subject import Binder, Call


@PEERS.register("scipy")
def scipy_csr(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """scipy.sparse: CSR weight times x.T, on one thread. Its result stays [out, rows]."""
    need("scipy")
    import scipy.sparse

    def make(rows: Tensor, columns: Tensor, values: Tensor) -> Binder:
        arrays = (values.numpy(), columns.numpy(), rows.numpy())
        matrix: Any = scipy.sparse.csr_array(arrays, shape=tuple(weight.shape))

        def bind(x: Tensor) -> Call:
            columns = x.numpy().T
            return lambda: matrix @ columns

        return bind

    from torch import from_numpy

    whole = scipy.sparse.csr_array(weight.numpy())
    parts = (from_numpy(array) for array in (whole.indptr, whole.indices, whole.data))
    return bind_copies(parts, cold, make)
