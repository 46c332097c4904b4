"""SparseProp (ICML 2023): compressed rows with a backward pass; compiled when it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from benchmarks.peers import PEERS, need
from benchmarks.subject import Binder, Call, copies


@PEERS.register("sparseprop")
def sparseprop(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """Its SparseLinear without a bias; it transposes x and y itself."""
    need("sparseprop")
    modules: Any = importlib.import_module("sparseprop.modules")
    kept = int(weight.count_nonzero())
    size = weight.new_empty(2 * kept)

    def make() -> Binder:
        layer = modules.SparseLinear(weight)

        def bind(x: Tensor) -> Call:
            return lambda: layer(x)

        return bind

    return [make() for _ in copies((size,), cold)]
