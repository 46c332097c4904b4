"""ONNX Runtime's dense matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import BASELINES, need
from benchmarks.peers._onnx import matmul_model
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

    return [binder(_session(model)) for _ in copies((weight,), cold)]


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Its idle threads would otherwise spin through the samples of the next candidate.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
