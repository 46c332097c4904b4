"""What a converted model holds in memory: a stack of large layers, before and after."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks import resident
from benchmarks.cases import Case, Selection, cases
from benchmarks.report import aligned
from benchmarks.subject import make_mask

SHAPE = (4096, 11008)
LAYERS = 3
SLACK = 0.02
"""Share of the dense bytes by which the system's count may be off: pages, Python's objects."""


@dataclass(frozen=True)
class Saving:
    """Bytes of a stack of layers.

    Args:
        case: shape and pattern of each layer.
        dense: of the dense weights.
        packed: of the packed weights.
        got: by how much fewer are resident after the conversion.
    """

    case: Case
    dense: int
    packed: int
    got: int

    @property
    def asked(self) -> int:
        """By how much fewer should be resident."""
        return self.dense - self.packed

    @property
    def missed(self) -> bool:
        """Whether more is resident than the packed weights explain."""
        return self.got < self.asked - SLACK * self.dense


def run(selection: Selection, layers: int = LAYERS) -> Iterator[Saving]:
    """Convert a stack for every sparsity and pattern, each layer of the first shape.

    Raises:
        resident.Unknown: where the system does not say what is resident.
    """
    chosen = Selection(
        sparsities=selection.sparsities, patterns=selection.patterns, values=("fp32",)
    )
    for case in cases(chosen, selection.shapes[0], 1):
        yield convert(case, layers)


def convert(case: Case, layers: int) -> Saving:
    """Build a pruned stack, convert it whatever its speed, let go of it, and compare."""
    planning: Any = importlib.import_module("secateur.planning")
    model = stack(case, layers)
    dense = sum(p.nbytes for p in model.parameters())
    before = resident.resident()
    fast = planning.convert(model, gate="always")
    del model
    after = resident.resident()
    tensors = [t for m in fast.modules() for t in (*m._parameters.values(), *m._buffers.values())]
    packed = sum(t.nbytes for t in tensors if t is not None)
    return Saving(case, dense, packed, before - after)


def stack(case: Case, layers: int) -> nn.ModuleList:
    """Return layers without a bias, pruned to the case's pattern."""
    mask = make_mask(case)
    model = nn.ModuleList()
    for seed in range(layers):
        # Weights are drawn here: the initialisation of nn.Linear takes longer than all the rest.
        layer = nn.utils.skip_init(
            nn.Linear, case.in_features, case.out_features, bias=False, device="cpu"
        )
        with torch.no_grad():
            layer.weight.normal_(generator=torch.Generator().manual_seed(seed)).mul_(mask)
        model.append(layer)
    return model.eval()


def lines(savings: Sequence[Saving]) -> list[str]:
    """Return the table, in MB: asked is dense less packed, got is what the system counts."""
    rows = [["case", "dense MB", "packed MB", "less resident, asked/got"]]
    for saving in savings:
        miss = " miss" if saving.missed else ""
        rows.append(
            [
                f"{saving.case.shape} {saving.case.column}",
                f"{saving.dense / 1e6:.0f}",
                f"{saving.packed / 1e6:.0f}",
                f"{saving.asked / 1e6:.0f}/{saving.got / 1e6:.0f}{miss}",
            ]
        )
    return aligned(rows)
