"""What was measured and decided for each layer, as plain data that travels with a model.

It is plain (numbers, words, lists), so that it can be copied, pickled, and written as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import nn

ATTRIBUTE = "_secateur_record"


@dataclass(frozen=True)
class Timing:
    """Time of one layer at one row count.

    Attributes:
        rows: rows of x after flattening; of a convolution, pixels of y.
        dense_ms: the dense layer, milliseconds.
        sparse_ms: the sparse layer, milliseconds.
        predicted: True if from the cost model, False if measured.
        of: what the rows are, "row" or "pixel".
    """

    rows: int
    dense_ms: float
    sparse_ms: float
    predicted: bool = False
    of: str = "row"

    @property
    def speedup(self) -> float:
        """Dense over sparse."""
        return self.dense_ms / max(self.sparse_ms, 1e-9)

    @property
    def relative(self) -> float:
        """Sparse over dense; infinite where no sparse kernel runs."""
        return self.sparse_ms / max(self.dense_ms, 1e-9)


@dataclass
class LayerRecord:
    """One layer of the model and what became of it.

    Attributes:
        name: module name; the input projections of an attention layer are name.in_proj.0 and on.
        kind: class of the dense module.
        shape: (out, in) of the weight as a matrix, or None where there is no weight to speak of.
        sparsity: fraction of weights that are zero.
        taken: whether the layer is sparse now.
        reason: why it is taken, or why not.
        format: packed format if taken.
        bytes_dense: of the dense weight.
        bytes_sparse: of values, index, and the dense copy if kept; as dense where not taken.
        keeps_dense: whether a dense copy is kept for row counts where sparse lost.
        rows: row counts it was judged at, or seen with.
        images: of a convolution, batch, height and width of an x of so many rows, for each.
        timings: for the format taken, or for the best one rejected.
        rejected: one line for each candidate not taken.
        candidates: on a GPU one line for each kernel and row count: measured and predicted time.
    """

    name: str
    kind: str
    shape: tuple[int, int] | None = None
    sparsity: float = 0.0
    taken: bool = False
    reason: str = ""
    format: str | None = None
    bytes_dense: int = 0
    bytes_sparse: int = 0
    keeps_dense: bool = False
    rows: list[int] = field(default_factory=list)
    images: list[tuple[int, int, int]] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    candidates: list[str] = field(default_factory=list)


@dataclass
class Record:
    """What `convert` decided, layer by layer.

    Attributes:
        layers: in the order of the model.
        gate: "measured", "model" or "always".
        objective: "speed" or "memory".
        machine: words for the machine that decided.
        stamp: the number by which verdicts name it.
        threads: torch's threads at the time.
    """

    layers: list[LayerRecord]
    gate: str
    objective: str
    machine: str
    stamp: int
    threads: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data for json.dumps."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """Return the record that `to_json` gave.

        Raises:
            ValueError: if `data` is not one.
        """
        try:
            layers = [_layer(entry) for entry in data["layers"]]
            return cls(**{**data, "layers": layers})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"record: not a record of this version ({error!r})") from error


def _layer(entry: Mapping[str, Any]) -> LayerRecord:
    timings = [Timing(**t) for t in entry["timings"]]
    shape = None if entry["shape"] is None else (int(entry["shape"][0]), int(entry["shape"][1]))
    images = [(int(n), int(high), int(wide)) for n, high, wide in entry.get("images", ())]
    return LayerRecord(**{**entry, "timings": timings, "shape": shape, "images": images})


def attach(model: nn.Module, record: Record) -> None:
    """Leave `record` with the model; copying and pickling take it along."""
    setattr(model, ATTRIBUTE, record)


def find(model: nn.Module) -> list[LayerRecord]:
    """Return the records within `model`, under the names that layers have in it."""
    found: dict[str, LayerRecord] = {}
    for prefix, module in model.named_modules():
        record: Record | None = module.__dict__.get(ATTRIBUTE)
        if record is not None:
            start = f"{prefix}." if prefix else ""
            for layer in record.layers:
                # The outermost record is the last one made.
                name = (start + layer.name).rstrip(".")
                found.setdefault(name, replace(layer, name=name))
    return list(found.values())
