"""MNN: its converter finds the zeros of a constant weight, its CPU backend skips them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers import CONVS, PEERS, need
from benchmarks.peers._onnx import conv_model, matmul_model
from benchmarks.subject import Binder, Call, copies


@PEERS.register("mnn")
def mnn(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """A one-node model, converted with --detectSparseSpeedUp, run in float32.

    At 60 % zeros or fewer it decides for its dense kernel itself.
    """
    need("MNN", "onnx")
    size = weight.new_empty(2 * int(weight.count_nonzero()))
    modules = _loaded(matmul_model(weight), len(copies((size,), cold)))
    return [functools.partial(_bound, module) for module in modules]


@CONVS.register("mnn")
def mnn_conv(conv: nn.Conv2d, x: Tensor) -> Call:
    """The same of a convolution; few zeros, or a fast dense algorithm, and it decides for dense."""
    need("MNN", "onnx")
    (module,) = _loaded(conv_model(conv), 1)
    return _bound(module, x)


def _bound(module: Any, x: Tensor) -> Call:
    library: Any = importlib.import_module("MNN")
    array = x.numpy()

    def call() -> Any:
        given = library.expr.const(array, list(array.shape), library.expr.NCHW)
        return module.forward([given])[0].read()

    return call


def _loaded(model: bytes, count: int) -> list[Any]:
    """Return so many copies of a one-node ONNX model, of which the zeros are sought."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        library: Any = importlib.import_module("MNN")
        path = _converted(model, Path(folder))
        settings = {"backend": "CPU", "numThread": torch.get_num_threads(), "precision": "high"}
        modules = []
        for _ in range(count):
            runtime = library.nn.create_runtime_manager((settings,))
            modules.append(
                library.nn.load_module_from_file(str(path), ["x"], ["y"], runtime_manager=runtime)
            )
    return modules


def _converted(model: bytes, folder: Path) -> Path:
    source, target = folder / "layer.onnx", folder / "layer.mnn"
    source.write_bytes(model)
    # The converter's command-line module also reports its use over the network; this one does not.
    tools: Any = importlib.import_module("_tools")
    names = ["--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "layer"]
    tools.mnnconvert(["mnnconvert", "-f", "ONNX", *names, "--detectSparseSpeedUp"])
    return target


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's own lines, printed by C++, out of the tables."""
    kept = os.dup(1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
