"""ONNX Runtime's dense matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from benchmarks.peers import BASELINES, need
from benchmarks.peers._onnx import matmul_model, session
from benchmarks.subject import Binder, Call, copies


@BASELINES.register("ort")
def onnxruntime_dense(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """A one-node model whose weight is a constant, so that ONNX Runtime packs it ahead of time."""
    need("onnx", "onnxruntime")
    model = matmul_model(weight)

    def binder(session: Any) -> Binder:
        def bind(x: Tensor) -> Call:
            inputs = {"x": x.numpy()}
            return lambda: session.run(None, inputs)

        return bind

    return [binder(session(model)) for _ in copies((weight,), cold)]
