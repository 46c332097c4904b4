"""The least time a sparse layer can take on a probed machine. Pure arithmetic.

Two bounds hold for the kernels here: loads from L1 (with many rows, every FMA reads its tokens
from memory), and bytes that must come from the level where they lie. The larger one binds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.cases import Measured
from benchmarks.roofline import Roofline

TILE = 64
"""Tokens per tile of the wide kernel: 8 vectors of 8 floats."""

INDEX_LOADS = 0.25
WEIGHT_LOADS = 0.25
"""Loads per nonzero and tile: indices and weights are fetched four at a time."""

STREAM_LOADS = 1.25
"""Vectors to load per vector of weights when weights and their one-byte indices are streamed."""


@dataclass(frozen=True)
class Work:
    """What one call must do.

    Args:
        nonzeros: value slots that take part.
        weight_bytes: bytes of the packed weight that one call must read.
        case: shape, rows and pattern.
    """

    nonzeros: int
    weight_bytes: int
    case: Measured

    @property
    def flops(self) -> int:
        """Useful floating-point operations."""
        return 2 * self.nonzeros * self.case.rows

    @property
    def dense_flops(self) -> int:
        """Operations of the dense layer that it replaces."""
        return 2 * self.case.weights * self.case.rows

    @property
    def bytes_moved(self) -> int:
        """The packed weight, x and y, each once."""
        return self.weight_bytes + 4 * self.case.elements


@dataclass(frozen=True)
class Bound:
    """Seconds no kernel can beat, and what sets them: "ports", "L2", "L3" or "DRAM"."""

    seconds: float
    kind: str


def bound(work: Work, roofline: Roofline) -> Bound:
    """Return the larger of the load-port bound and the bandwidth bound."""
    ports = Bound(loads(work, roofline.width) / roofline.loads, "ports")
    level = level_of(work, roofline)
    bandwidth = Bound(work.bytes_moved / roofline.read[level], level)
    return max(ports, bandwidth, key=lambda b: b.seconds)


def loads(work: Work, width: int) -> float:
    """Return the loads one call needs with vectors of `width` floats.

    With fewer rows than that, the vector runs along the weights and x may be looked up in
    registers, so only the weights' own loads are certain: then bandwidth is what binds.
    """
    if work.case.rows < width:
        return work.nonzeros * STREAM_LOADS / width
    full, rest = divmod(work.case.rows, TILE)
    per_nonzero = full * _loads_per_nonzero(TILE, width)
    if rest:
        per_nonzero += _loads_per_nonzero(rest, width)
    return work.nonzeros * per_nonzero


def level_of(work: Work, roofline: Roofline) -> str:
    """Return where the weight lies when a call begins."""
    if work.case.cold or work.weight_bytes > roofline.caches.l3:
        return "DRAM"
    return "L2" if work.weight_bytes <= roofline.caches.l2 * roofline.threads else "L3"


def _loads_per_nonzero(tokens: int, width: int) -> float:
    return math.ceil(tokens / width) + INDEX_LOADS + WEIGHT_LOADS
