"""torch's compressed rows of blocks, multiplied by MKL."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.peers import PEERS, Absent, bind_copies
from benchmarks.subject import Binder, Call

BLOCK = (4, 4)


@PEERS.register("torch_bsr")
def torch_bsr(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """torch.sparse (MKL): BSR weight times x.T; every block with one kept weight is kept whole."""
    if weight.shape[0] % BLOCK[0] or weight.shape[1] % BLOCK[1]:
        raise Absent(f"{list(weight.shape)} does not fall into blocks of {list(BLOCK)}")

    def make(rows: Tensor, columns: Tensor, values: Tensor) -> Binder:
        size = weight.shape
        matrix = torch.sparse_bsr_tensor(rows, columns, values, size=size, check_invariants=False)

        def bind(x: Tensor) -> Call:
            columns = x.t()
            return lambda: matrix @ columns

        return bind

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR|BSR) tensor support is in beta")
        matrix = weight.to_sparse_bsr(BLOCK)
        parts = (matrix.crow_indices().int(), matrix.col_indices().int(), matrix.values())
        return bind_copies(parts, cold, make)
