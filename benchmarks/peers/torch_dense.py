"""torch's dense linear layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.peers import BASELINES, bind_copies
from benchmarks.subject import Binder, Call


@BASELINES.register("torch")
def torch_dense(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """F.linear on the dense weight, [out, in]."""

    def make(weight: Tensor) -> Binder:
        def bind(x: Tensor) -> Call:
            return lambda: torch.nn.functional.linear(x, weight)

        return bind

    return bind_copies((weight,), cold, make)
