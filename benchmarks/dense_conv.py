"""Dense convolutions as torch and ONNX Runtime run them: what a sparse one is measured against."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from benchmarks.peers import Absent, need
from benchmarks.peers._onnx import session
from benchmarks.teller import Teller

LIBRARIES = ("torch", "torch_nhwc", "ort")
"""Names of those that there may be."""


def dense_calls(
    model: nn.Module, x: Tensor, onnx_model: Callable[[], bytes], teller: Teller
) -> dict[str, Callable[[], object]]:
    """Return the calls of the dense libraries that are there, by name.

    Args:
        model: a convolution, or a network of them.
        x: [N, C, H, W].
        onnx_model: makes the same as an ONNX model with an input "x".
        teller: is told which library is absent.
    """
    last = deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x_last = x.contiguous(memory_format=torch.channels_last)
    found: dict[str, Callable[[], object]] = {
        "torch": lambda: model(x),
        "torch_nhwc": lambda: last(x_last),
    }
    try:
        need("onnx", "onnxruntime")
    except Absent as reason:
        teller.skipped("ort", str(reason))
        return found
    run = session(onnx_model())
    inputs = {"x": x.numpy()}
    found["ort"] = lambda: run.run(None, inputs)
    return found
