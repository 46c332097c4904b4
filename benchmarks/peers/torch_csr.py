"""torch's compressed rows, multiplied by MKL."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.peers import PEERS, bind_copies
from benchmarks.subject import Binder, Call


@PEERS.register("torch_csr")
def torch_csr(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """torch.sparse (MKL): CSR weight times x.T. Its result stays [out, rows], in its favour."""

    def make(rows: Tensor, columns: Tensor, values: Tensor) -> Binder:
        size = weight.shape
        matrix = torch.sparse_csr_tensor(rows, columns, values, size=size, check_invariants=False)

        def bind(x: Tensor) -> Call:
            columns = x.t()
            return lambda: matrix @ columns

        return bind

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        matrix = weight.to_sparse_csr()
        parts = (matrix.crow_indices().int(), matrix.col_indices().int(), matrix.values())
        return bind_copies(parts, cold, make)
