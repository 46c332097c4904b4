"""torch's dense linear layer with int8 weights, quantised as it goes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import INT8, Absent
from benchmarks.subject import Binder, Call, copies


@INT8.register("int8")
def torch_int8(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """Dynamic quantisation of nn.Linear: int8 weights, x quantised at each call."""
    engine = torch.backends.quantized.engine
    if engine == "none":
        raise Absent("this torch has no engine for quantised layers")

    def make() -> Binder:
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        with torch.no_grad():
            layer.weight.copy_(weight)
        with warnings.catch_warnings():
            # torch announces the end of its quantised tensors, in two kinds of warning.
            warnings.simplefilter("ignore")
            quantised: Any = torch.ao.quantization.quantize_dynamic(
                torch.nn.Sequential(layer), {torch.nn.Linear}, dtype=torch.qint8
            )[0]

        def bind(x: Tensor) -> Call:
            return lambda: quantised(x)

        return bind

    packed = torch.empty(weight.shape, dtype=torch.int8)
    return [make() for _ in copies((packed,), cold)]
