"""What a run of the demo may be told, and what that means."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

UNSTRUCTURED_SPARSITY = 0.85


@dataclass(frozen=True)
class Settings:
    """One run.

    Attributes:
        pattern: "unstructured", or "N:M" = N KEPT of M.
        sparsity: fraction of the encoder's weights to remove.
        out: folder for figures, plots and models.
        threads: of torch and of ONNX Runtime, in training and in timing.
        seed: of the head, of the order of documents and of the held-out documents.
        adapt_steps: training steps of the dense model.
        heal_steps: training steps while and after pruning.
        rounds: timed calls of each model and batch.
        documents: how many test documents to classify; None is all.
    """

    pattern: str = "unstructured"
    sparsity: float = UNSTRUCTURED_SPARSITY
    out: Path = field(default_factory=lambda: Path("out/demo"))
    threads: int = 2
    seed: int = 0
    adapt_steps: int = 100
    heal_steps: int = 240
    rounds: int = 21
    documents: int | None = None


def default_sparsity(pattern: str) -> float:
    """Return the sparsity of an N:M pattern, or the demo's own for an unstructured one."""
    quota = re.fullmatch(r"(\d+):(\d+)", pattern)
    if quota is None:
        return UNSTRUCTURED_SPARSITY
    return 1.0 - int(quota[1]) / int(quota[2])
