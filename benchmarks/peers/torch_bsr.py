"""torch's compressed rows of blocks, multiplied by MKL."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.peers import PEERS, Absent
from benchmarks.peers._torch_sparse import bind
from benchmarks.subject import Binder

BLOCK = (4, 4)


@PEERS.register("torch_bsr")
def torch_bsr(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """torch.sparse (MKL): BSR weight times x.T; every block with one kept weight is kept whole."""
    if weight.shape[0] % BLOCK[0] or weight.shape[1] % BLOCK[1]:
        raise Absent(f"{list(weight.shape)} does not fall into blocks of {list(BLOCK)}")

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR|BSR) tensor support is in beta")
        return bind(weight.to_sparse_bsr(BLOCK), torch.sparse_bsr_tensor, cold)
