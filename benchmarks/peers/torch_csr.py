"""torch's compressed rows, multiplied by MKL."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers import CONVS, PEERS, Absent
from benchmarks.peers._torch_sparse import bind
from benchmarks.subject import Binder, Call


@PEERS.register("torch_csr")
def torch_csr(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """torch.sparse (MKL): CSR weight times x.T. Its result stays [out, rows], in its favour."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return bind(weight.to_sparse_csr(), torch.sparse_csr_tensor, cold)


@CONVS.register("torch_csr")
def torch_csr_conv(conv: nn.Conv2d, x: Tensor) -> Call:
    """Unfold and multiply: torch has no sparse convolution. x of a 1x1 needs no unfolding."""
    if conv.groups > 1:
        raise Absent("as one matrix a convolution of groups would be mostly zeros of its own")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        matrix = conv.weight.detach().flatten(1).to_sparse_csr()
    plain = conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.padding == (0, 0)
    options: Any = (conv.kernel_size, conv.dilation, conv.padding, conv.stride)
    high, wide = conv(x[:1]).shape[2:]

    def call() -> Tensor:
        columns = x.flatten(2) if plain else F.unfold(x, *options)
        products = [matrix @ image for image in columns]
        return torch.stack(products).view(len(x), -1, high, wide)

    return call
