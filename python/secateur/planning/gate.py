"""Whether a layer is worth being sparse, and at which row counts: the verdict and its grounds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch

from secateur.backends import registry
from secateur.formats import Packed, Verdict, bucket, with_verdicts
from secateur.formats.header import BUCKETS
from secateur.nn import layers, packing
from secateur.nn.dense_layer import DenseLayer
from secateur.planning import cost, gpu, machine, stopwatch
from secateur.planning.record import Timing
from secateur.planning.size import Size
from secateur.planning.table import ratio_text

Gate = Literal["measured", "model", "always"]
Objective = Literal["speed", "memory"]

THRESHOLD = registry.THRESHOLD  # dense over sparse, from which sparse is taken
ALIKE = 0.02  # layers of one shape whose kept counts differ by less share a measurement


@dataclass(frozen=True)
class Decision:
    """What the gate says of one layer.

    Attributes:
        packed: the packed weight, verdicts in its header; None: the layer stays dense.
        keeps_dense: whether some row count lost, so that a dense copy is to be kept.
        timings: of the format taken, or of the best one rejected.
        reason: why it is taken or not.
        rejected: one line for each candidate not taken.
        candidates: on a GPU one line for each kernel and row count.
    """

    packed: Packed | None
    keeps_dense: bool
    timings: list[Timing]
    reason: str
    rejected: list[str]
    candidates: list[str] = field(default_factory=list)


@dataclass
class Judge:
    """Decides layer after layer, measuring layers that are alike once.

    Args:
        gate: "measured" times this machine, "model" predicts, "always" takes every layer.
        objective: "speed" takes a layer that is faster at some row count, and keeps a dense copy
            for the others; "memory" takes one that is smaller and not slower over all of them.
        values: type to hold the kept weights in; None: the weight's own.
        budget_s: seconds for one measurement, about.
    """

    gate: Gate
    objective: Objective
    values: torch.dtype | None = None
    budget_s: float = 0.25
    _known: dict[object, list[tuple[int, Timing]]] = field(default_factory=dict)

    def decide(self, layer: DenseLayer, sizes: Collection[Size]) -> Decision:
        """Judge one layer at these sizes of call (none are needed with gate="always")."""
        on = gpu.of(layer)
        if on is not None:
            formats, refused = gpu.formats(layer, on, sizes, self.values)
            if not formats:
                why = f"no sparse kernel on {on.name} runs it: {'; '.join(refused)}"
                return Decision(None, False, [], why, [])
            decision = self._decided(layer, sizes, formats)
            lines = gpu.told(layer, formats, sizes, on, self.values)
            return replace(decision, rejected=decision.rejected + refused, candidates=lines)
        return self._decided(layer, sizes, layers.formats(layer, [size.rows for size in sizes]))

    def _decided(self, layer: DenseLayer, sizes: Collection[Size], formats: list[str]) -> Decision:
        if self.gate == "always":
            return Decision(layers.packed(layer, formats[0]), False, [], "gate='always'", [])
        in_order = sorted(sizes)
        trials = [(name, [self._time(layer, name, size) for size in in_order]) for name in formats]
        if self.objective == "speed":
            # By ratio: formats are timed one after another, and the machine may change its pace.
            trials.sort(key=lambda trial: sum(min(1.0, t.relative) for t in trial[1]))
        (name, timings), others = trials[0], trials[1:]
        packed = layers.packed(layer, name)
        refusal = self._refusal(layer, packed, timings)
        if refusal is not None:
            lines = [f"{other}: {_ratios(times)}" for other, times in trials]
            return Decision(None, False, timings, refusal, lines)
        better = "faster" if self.objective == "speed" else "smaller"
        rejected = [f"{other}: {_ratios(times)}, {name} is {better}" for other, times in others]
        verdicts = verdicts_of(timings)
        index = with_verdicts(packed.index, spread(verdicts), machine.stamp())
        packed = Packed(
            packed.format, packed.values, index, packed.in_features, packed.out_features
        )
        loses = "dense" in verdicts.values() and self.objective == "speed"
        return Decision(packed, loses, timings, f"sparse is {_ratios(timings)}", rejected)

    def _refusal(self, layer: DenseLayer, packed: Packed, timings: list[Timing]) -> str | None:
        how = "predicted" if self.gate == "model" else "measured"
        if self.objective == "speed":
            if "sparse" in verdicts_of(timings).values():
                return None
            return f"sparse is {how} {_ratios(timings)}, below {THRESHOLD}x"
        if packed.nbytes >= layer.weight.nbytes:
            return f"packed it would take {packed.nbytes} bytes, dense {layer.weight.nbytes}"
        if sum(t.sparse_ms for t in timings) > sum(t.dense_ms for t in timings):
            return f"sparse is {how} {_ratios(timings)}, slower over these row counts together"
        return None

    def _time(self, layer: DenseLayer, format: str, size: Size) -> Timing:
        kept = int(layer.mask.count_nonzero())
        out_features, in_features = layer.weight.shape
        on = gpu.of(layer)
        if on is not None:
            if self.gate == "measured":
                gpu.measure(layer, layers.packed(layer, format), size, on, self.values)
            return gpu.timing(layer, format, size, on, self.values)
        if self.gate == "model":
            density = kept / layer.mask.numel()
            item = (self.values or layer.weight.dtype).itemsize
            return predicted(layer, density, size.rows, format=format, item_bytes=item)
        pattern = packing.pattern(format, layer.mask)
        kind = (format, pattern, layer.weight.dtype, layer.bias is None, layer.geometry)
        key = (out_features, in_features, size, kind)
        known = self._known.setdefault(key, [])
        for count, timing in known:
            if abs(count - kept) <= ALIKE * kept:
                return timing
        timing = measure(
            layer, layers.packed(layer, format), size, values=self.values, budget_s=self.budget_s
        )
        known.append((kept, timing))
        return timing


def predicted(
    layer: DenseLayer, density: float, rows: int, *, format: str, item_bytes: int
) -> Timing:
    """Predict one layer at one row count; see `cost.predict`."""
    shape = (int(layer.weight.shape[0]), int(layer.weight.shape[1]))
    taps = 1 if layer.geometry is None else layer.geometry.taps
    timing = cost.predict(shape, density, rows, format=format, item_bytes=item_bytes, taps=taps)
    return replace(timing, of=_rows_are(layer))


def _rows_are(layer: DenseLayer) -> str:
    return "row" if layer.geometry is None else "pixel"


def measure(
    layer: DenseLayer,
    packed: Packed,
    size: Size,
    *,
    values: torch.dtype | None = None,
    budget_s: float = 0.25,
) -> Timing:
    """Time the dense module against the sparse one on random x of this size, without gradient.

    It is the modules that are called: in a small layer their overhead counts.
    """
    x = size.random_x(layer)
    sparse = layers.sparse(layer, packed).eval()
    if values is not None:
        sparse.store(values)
    with torch.no_grad():
        dense_ms, sparse_ms = stopwatch.compare(
            partial(layers.dense(layer), x),
            partial(sparse, x),
            threshold=THRESHOLD,
            budget_s=budget_s,
            device=x.device,
        )
    return Timing(size.rows, dense_ms, sparse_ms, of=_rows_are(layer))


def verdicts_of(timings: list[Timing]) -> dict[int, Verdict]:
    """Return the verdict for each bucket measured; one row count that loses decides its bucket."""
    verdicts: dict[int, Verdict] = {}
    for timing in timings:
        at = bucket(timing.rows)
        wins = timing.speedup >= THRESHOLD and verdicts.get(at) != "dense"
        verdicts[at] = "sparse" if wins else "dense"
    return verdicts


def spread(verdicts: Mapping[int, Verdict]) -> dict[int, Verdict]:
    """Give every bucket the verdict of the nearest one measured, the lower of two as near.

    Returns:
        A verdict for a row count of each bucket.
    """
    if not verdicts:
        return {}
    return {
        1 << at: verdicts[min(verdicts, key=lambda measured: (abs(measured - at), measured))]
        for at in range(BUCKETS)
    }


def _ratios(timings: list[Timing]) -> str:
    some = timings if len(timings) <= 4 else [*timings[:2], *timings[-2:]]
    shown = [f"{ratio_text(t.speedup)} at {t.rows} {t.of}{'s' * (t.rows != 1)}" for t in some]
    return ", ".join(shown)
