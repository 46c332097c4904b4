"""What the sparse kernels are compared with: dense baselines, and other sparse libraries.

A baseline or peer is one function and one line in its table. It takes a weight, prepares one or
more copies of it, and returns for each a function from x to the call to time; or it raises
`Absent` with the reason why it cannot run here.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.subject import Binder, Call, copies

Prepare = Callable[[Tensor, bool], Sequence[Binder]]


class Absent(Exception):
    """Why a baseline or peer cannot run here."""


def torch_dense(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """F.linear on the dense weight, [out, in]."""

    def binder(weight: Tensor) -> Binder:
        def bind(x: Tensor) -> Call:
            return lambda: torch.nn.functional.linear(x, weight)

        return bind

    return [binder(copy) for (copy,) in copies((weight,), cold)]


def onnxruntime_dense(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """A one-node model whose weight is a constant, so that ONNX Runtime packs it ahead of time."""
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise Absent(f"{package} is not installed")
    model = _matmul_model(weight)

    def binder(session: Any) -> Binder:
        def bind(x: Tensor) -> Call:
            inputs = {"x": x.numpy()}
            return lambda: session.run(None, inputs)

        return bind

    return [binder(_session(model)) for _ in copies((weight,), cold)]


def torch_csr(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """torch.sparse (MKL): CSR weight times x.T. Its result stays [out, rows], in its favour."""

    def binder(matrix: Tensor) -> Binder:
        def bind(x: Tensor) -> Call:
            columns = x.t()
            return lambda: matrix @ columns

        return bind

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        matrix = weight.to_sparse_csr()
        parts = (matrix.crow_indices().int(), matrix.col_indices().int(), matrix.values())
        return [
            binder(
                torch.sparse_csr_tensor(
                    rows, columns, values, size=weight.shape, check_invariants=False
                )
            )
            for rows, columns, values in copies(parts, cold)
        ]


BASELINES: dict[str, Prepare] = {"torch": torch_dense, "ort": onnxruntime_dense}
"""Dense libraries, on the dense weight. The faster one is what every speed-up is over."""

PEERS: dict[str, Prepare] = {"torch_csr": torch_csr}
"""Sparse libraries, on the weight with its pruned positions zero."""


def prepare(
    table: dict[str, Prepare], weight: Tensor, cold: bool
) -> tuple[dict[str, Sequence[Binder]], dict[str, str]]:
    """Prepare everything in a table.

    Returns:
        What can run, by name, and for the rest the reason why not.
    """
    ready: dict[str, Sequence[Binder]] = {}
    absent: dict[str, str] = {}
    for name, function in table.items():
        try:
            ready[name] = function(weight, cold)
        except Absent as reason:
            absent[name] = str(reason)
    return ready, absent


def _matmul_model(weight: Tensor) -> bytes:
    import onnx
    from onnx import helper, numpy_helper

    out_features, in_features = weight.shape
    float32 = onnx.TensorProto.FLOAT
    constant = numpy_helper.from_array(weight.t().contiguous().numpy(), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", float32, [None, in_features])],
        [helper.make_tensor_value_info("y", float32, [None, out_features])],
        [constant],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    serialised: bytes = model.SerializeToString()
    return serialised


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Its idle threads would otherwise spin through the samples of the next candidate.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
