"""SparseProp (ICML 2023): compressed rows with a backward pass; compiled when it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from benchmarks.peers import CONVS, PEERS, Absent, need
from benchmarks.subject import Binder, Call, copies
from benchmarks.timing import Candidate, Plan, fastest, measure


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


@CONVS.register("sparseprop")
def sparseprop_conv(conv: nn.Conv2d, x: Tensor) -> Call:
    """Its SparseConv2d without a bias, over the width of y or over the batch: the faster one.

    It chooses between the two by a run too, when a layer is made by its own `swap` functions.
    """
    need("sparseprop")
    plain = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    if not plain or conv.stride[0] not in (1, 2) or len({*conv.kernel_size}) > 1:
        raise Absent("it has square kernels, of stride 1 or 2, without groups or dilation, only")
    modules: Any = importlib.import_module("sparseprop.modules")

    def make(over_width: bool) -> Call:
        layer = modules.SparseConv2d.from_dense(conv, vectorizing_over_on=over_width)
        return lambda: layer(x)

    calls = {f"{over}": make(over) for over in (False, True)[: 1 + (conv.stride[0] == 1)]}
    few = Plan(rounds=3)
    tried = measure([Candidate(name, [call], 0.2) for name, call in calls.items()], few)
    return calls[fastest(tried)]
