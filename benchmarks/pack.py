"""What packing costs: its time in dense calls, and its memory in dense weights."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import resident
from benchmarks.cases import Case, Selection, cases
from benchmarks.report import aligned
from benchmarks.subject import make_mask
from benchmarks.timing import Candidate, Plan, Samples, measure, ratio

ROWS = 256
ASKED_CALLS = 10.0
"""Dense calls at `ROWS` rows that packing may take."""
ASKED_WEIGHTS = 1.0
"""Dense weights that packing may need beside the dense one, its result among them."""

HEADINGS = ("case", "dense ms", "pack ms", "dense calls", "peak, dense weights", "result")


@dataclass(frozen=True)
class Cost:
    """What packing one weight took.

    Args:
        case: shape and pattern; its rows are those of the dense call.
        dense: seconds of one dense call.
        pack: seconds of packing.
        peak: bytes resident at the worst moment beyond those before; None where not told.
        packed_bytes: bytes of the result.
    """

    case: Case
    dense: Samples
    pack: Samples
    peak: int | None
    packed_bytes: int

    @property
    def calls(self) -> float:
        """Packing in dense calls."""
        return ratio(self.pack, self.dense).median

    @property
    def weights(self) -> float | None:
        """The peak in dense weights."""
        return None if self.peak is None else self.peak / (4 * self.case.weights)


def run(selection: Selection, plan: Plan) -> Iterator[Cost]:
    """Pack every case of the selection; sparsities and patterns count, rows do not."""
    formats: Any = importlib.import_module("secateur.formats")
    for shape in selection.shapes:
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
        x = torch.randn(ROWS, shape[1], generator=torch.Generator().manual_seed(1))
        for case in cases(Selection(values=("fp32",), **_levels(selection)), shape, ROWS):
            packer = formats.FORMATS.get("csr" if case.pattern == "csr" else "nm")
            mask = make_mask(case)

            def pack(packer: Any = packer, mask: Any = mask, weight: Any = weight) -> Any:
                return packer.pack(weight, mask)

            def dense(x: Any = x, weight: Any = weight) -> Any:
                return torch.nn.functional.linear(x, weight)

            candidates = [Candidate("dense", [dense]), Candidate("pack", [pack])]
            with torch.inference_mode():
                samples = measure(candidates, plan)
                packed_bytes = pack().nbytes
                peak = _peak(pack)
            yield Cost(case, samples["dense"], samples["pack"], peak, packed_bytes)


def _levels(selection: Selection) -> dict[str, Any]:
    return {"sparsities": selection.sparsities, "patterns": selection.patterns}


def _peak(call: Any) -> int | None:
    try:
        return resident.peak_extra(call)
    except resident.Unknown:
        return None


def lines(costs: list[Cost]) -> list[str]:
    """Return the table: "asked/got" for time and memory, with " miss" where got is more."""
    rows = [list(HEADINGS)]
    for cost in costs:
        weights = "-" if cost.weights is None else _asked(ASKED_WEIGHTS, cost.weights)
        rows.append(
            [
                f"{cost.case.shape} {cost.case.column}",
                f"{cost.dense.median * 1e3:.4g}",
                f"{cost.pack.median * 1e3:.4g} ±{cost.pack.spread:.0%}",
                _asked(ASKED_CALLS, cost.calls),
                weights,
                f"{cost.packed_bytes / (4 * cost.case.weights):.2f}",
            ]
        )
    return aligned(rows)


def _asked(asked: float, got: float) -> str:
    return f"{asked:g}/{got:.2f}{' miss' if got > asked else ''}"
