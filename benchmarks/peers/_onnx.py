"""A linear layer as an ONNX model."""

from __future__ import annotations

from torch import Tensor


def matmul_model(weight: Tensor) -> bytes:
    """Return y = x Wᵀ as a one-node model, `weight` [out, in] its constant."""
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
