"""SparseLab: padded compressed rows, made for training."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from benchmarks.peers import PEERS, need
from benchmarks.subject import Binder, Call, copies


@PEERS.register("sparselab")
def sparselab(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """Its spmm on x.T, made contiguous at each call; its result stays [out, rows]."""
    need("sparselab")
    layout: Any = importlib.import_module("sparselab.layout")
    ops: Any = importlib.import_module("sparselab.ops")
    size = weight.new_empty(2 * int(weight.count_nonzero()))

    def make() -> Binder:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            packed = layout.from_dense(weight)

        def bind(x: Tensor) -> Call:
            return lambda: ops.spmm(packed, x.t().contiguous())

        return bind

    return [make() for _ in copies((size,), cold)]
