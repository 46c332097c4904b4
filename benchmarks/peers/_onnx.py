"""A layer as an ONNX model, and what runs it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


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
    return _serialised(graph)


def conv_model(conv: nn.Conv2d) -> bytes:
    """Return a convolution without bias as a one-node model, its weight the constant."""
    import onnx
    from onnx import helper, numpy_helper

    float32 = onnx.TensorProto.FLOAT
    assert not isinstance(conv.padding, str)
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        kernel_shape=list(conv.kernel_size),
        strides=list(conv.stride),
        pads=[*conv.padding, *conv.padding],
        dilations=list(conv.dilation),
        group=conv.groups,
    )
    shapes = {"x": conv.in_channels, "y": conv.out_channels}
    infos = {
        name: helper.make_tensor_value_info(name, float32, [None, channels, None, None])
        for name, channels in shapes.items()
    }
    constant = numpy_helper.from_array(conv.weight.detach().numpy(), "w")
    return _serialised(helper.make_graph([node], "conv", [infos["x"]], [infos["y"]], [constant]))


def session(model: bytes) -> Any:
    """Return an ONNX Runtime session on as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Its idle threads would otherwise spin through the samples of the next candidate.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _serialised(graph: Any) -> bytes:
    from onnx import helper

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    serialised: bytes = model.SerializeToString()
    return serialised
