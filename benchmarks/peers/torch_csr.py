"""torch's compressed rows, multiplied by MKL."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.peers import PEERS
from benchmarks.peers._torch_sparse import bind
from benchmarks.subject import Binder


@PEERS.register("torch_csr")
def torch_csr(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """torch.sparse (MKL): CSR weight times x.T. Its result stays [out, rows], in its favour."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return bind(weight.to_sparse_csr(), torch.sparse_csr_tensor, cold)
