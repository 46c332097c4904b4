"""All figures of one run as plain data, and the JSON file of them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import torch

from secateur.demo.evaluate import Answers
from secateur.demo.settings import Settings
from secateur.demo.sizes import Sizes
from secateur.demo.timing import Times
from secateur.demo.train import Point
from secateur.demo.waterfall import Waterfall
from secateur.planning import machine

PACKAGES = ("torch", "onnxruntime", "onnx", "numpy", "safetensors", "tokenizers")


@dataclass(frozen=True)
class Quality:
    """Accuracy on the same test documents.

    Attributes:
        documents: how many.
        dense: fraction right before pruning.
        sparse: fraction right of the converted model.
        lost: documents that only the dense model has right.
        gained: documents that only the sparse model has right.
    """

    documents: int
    dense: float
    sparse: float
    lost: int
    gained: int

    @classmethod
    def of(cls, dense: Answers, sparse: Answers) -> Quality:
        """Compare two models' answers to the same documents."""
        right, now_right = dense.predicted == dense.labels, sparse.predicted == sparse.labels
        lost, gained = int((right & ~now_right).sum()), int((~right & now_right).sum())
        return cls(len(right), dense.accuracy, sparse.accuracy, lost, gained)

    @property
    def standard_error(self) -> float:
        """Of sparse - dense, for paired answers."""
        swing = self.lost + self.gained - (self.lost - self.gained) ** 2 / self.documents
        return math.sqrt(swing) / self.documents


@dataclass(frozen=True)
class Speed:
    """Milliseconds of one batch, end to end: token ids to logits.

    Attributes:
        documents: in the batch.
        rows: documents times tokens; none of them is padding.
        torch: the dense model.
        onnxruntime: the dense model.
        sparse: the converted model.
    """

    documents: int
    rows: int
    torch: Times
    onnxruntime: Times
    sparse: Times

    @property
    def over_torch(self) -> float:
        """Median of torch over median of sparse."""
        return self.torch.median / self.sparse.median

    @property
    def over_onnxruntime(self) -> float:
        """Median of ONNX Runtime over median of sparse."""
        return self.onnxruntime.median / self.sparse.median


@dataclass(frozen=True)
class LayerSpeed:
    """What the gate measured for one layer at one row count; times are milliseconds."""

    layer: str
    shape: tuple[int, int] | None
    sparsity: float
    rows: int
    kernel: str
    dense_ms: float
    sparse_ms: float
    reason: str

    @property
    def speedup(self) -> float:
        """Dense over sparse."""
        return self.dense_ms / self.sparse_ms


@dataclass(frozen=True)
class Reload:
    """Whether the file gives the same model again.

    Attributes:
        same_answers: every class of the timed batches is the same.
        largest_difference: between logits of the saved and of the loaded model.
    """

    same_answers: bool
    largest_difference: float


@dataclass(frozen=True)
class Figures:
    """One run of the demo."""

    settings: Settings
    machine: str
    versions: dict[str, str]
    quality: Quality
    speeds: list[Speed]
    dense_size: Sizes
    sparse_size: Sizes
    layers: list[LayerSpeed]
    waterfalls: dict[str, Waterfall]
    adapting: list[Point]
    healing: list[Point]
    reload: Reload
    onnxruntime_difference: float
    seconds: float

    @property
    def largest(self) -> Speed:
        """The batch with the most rows."""
        return max(self.speeds, key=lambda speed: speed.rows)


def describe_machine() -> str:
    """Return processor, kernels and torch's threads."""
    return f"{machine.describe()}, {torch.get_num_threads()} threads"


def versions() -> dict[str, str]:
    """Return the versions of what was measured."""
    return {name: metadata.version(name) for name in PACKAGES}


def write_json(figures: Figures, path: Path) -> None:
    """Write every figure, and the ratios drawn from them."""
    data = asdict(figures)
    for entry, speed in zip(data["speeds"], figures.speeds, strict=True):
        entry |= {"over_torch": speed.over_torch, "over_onnxruntime": speed.over_onnxruntime}
    for entry, layer in zip(data["layers"], figures.layers, strict=True):
        entry["speedup"] = layer.speedup
    data["quality"]["standard_error"] = figures.quality.standard_error
    path.write_text(json.dumps(data, indent=1, default=str) + "\n", encoding="utf-8")
