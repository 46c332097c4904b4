"""The dense model in ONNX Runtime, the fastest dense CPU runtime that pip installs.

One file per batch shape: fixed shapes, and opset 23's Attention, were the fastest of the exports
tried (opsets 17, 18, 20 and 23, dynamic shapes, onnxruntime.transformers' fusions).
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from secateur.demo.data import Batch
from secateur.demo.model import Classifier

OPSET = 23
Logits = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def onnx_runtime(model: Classifier, batch: Batch, threads: int) -> Callable[[], Logits]:
    """Return a function that runs `model` on `batch`, dense, in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Its idle threads would otherwise spin into the next contender's time.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dense.onnx"
        _export(model, batch, path)
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    names = [entry.name for entry in session.get_inputs()]
    feeds = dict(zip(names, (batch.ids.numpy(), batch.mask.numpy()), strict=True))
    return lambda: session.run(None, feeds)[0]


def _export(model: Classifier, batch: Batch, path: Path) -> None:
    with _hushed(), torch.no_grad():
        torch.onnx.export(
            model,
            (batch.ids, batch.mask),
            str(path),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep the exporter's remarks about itself from the user; its errors still raise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
