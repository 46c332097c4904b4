"""Measures linear layers: dense baselines, the sparse subject and its peers, in the same rounds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks import subject
from benchmarks.bounds import bound
from benchmarks.cases import Case, Selection, cases
from benchmarks.peers import BASELINES, INT8, PEERS, Prepare, prepare
from benchmarks.result import Result
from benchmarks.roofline import Roofline
from benchmarks.subject import Binder, Subject
from benchmarks.teller import Teller
from benchmarks.timing import Candidate, Plan, Samples, measure
from secateur._registry import Registry

PEER_BUDGET = 2.0
"""Seconds a peer may take per case; slower ones get fewer rounds."""


@dataclass(frozen=True)
class Options:
    """How to measure.

    Args:
        selection: which cases.
        plan: how many rounds.
        peers: whether to time other sparse libraries too.
        kernel: name of a kernel to force; None lets the package choose.
        roofline: what results are judged by; None prints no share of a bound.
    """

    selection: Selection
    plan: Plan
    peers: bool = True
    kernel: str | None = None
    roofline: Roofline | None = None


@dataclass(frozen=True)
class Layer:
    """One sparse layer in one packed format, with the peers prepared on the same weight."""

    case: Case
    format: str
    subject: Subject
    peers: dict[str, Sequence[Binder]]

    @property
    def key(self) -> str:
        """Names it among the layers of one shape."""
        return _key(self.case, self.format)


def run(options: Options, say: Callable[[str], None]) -> Iterator[list[Result]]:
    """Measure everything selected; yields the results of one shape and row count at a time.

    Args:
        options: what and how.
        say: is told once for each library that is absent, and why.
    """
    extension: Any = importlib.import_module("secateur._extension")
    if not extension.load():
        say(f"no kernels: {extension.reason()}")
    teller = Teller(say)
    for shape in options.selection.shapes:
        generator = torch.Generator().manual_seed(shape[0] + shape[1])
        weight = torch.randn(shape, generator=generator)
        by_rows = {rows: cases(options.selection, shape, rows) for rows in options.selection.rows}
        wanted = {rows: _packings(group, options) for rows, group in by_rows.items()}
        once = {_key(*packing): packing for some in wanted.values() for packing in some}
        layers = [_layer(*packing, weight, options, teller) for packing in once.values()]
        made = {layer.key: layer for layer in layers if layer is not None}
        if not made:
            continue
        cold = next(iter(made.values())).case.cold
        dense = _prepared(BASELINES, weight, cold, teller)
        beside = _prepared(INT8, weight, cold, teller) if cold and options.peers else {}
        for rows, some in wanted.items():
            x = torch.randn((rows, shape[1]), generator=generator)
            chosen = [made[_key(*packing)] for packing in some if _key(*packing) in made]
            if chosen:
                extra = beside if rows == 1 else {}
                yield measure_layers(chosen, {**dense, **extra}, x, options)


def _prepared(
    table: Registry[Prepare], weight: Tensor, cold: bool, teller: Teller
) -> dict[str, Sequence[Binder]]:
    """Return what of a table can run on `weight`."""
    ready, absent = prepare(table, weight, cold)
    teller.all_skipped(absent)
    return ready


def measure_layers(
    layers: Sequence[Layer], dense: dict[str, Sequence[Binder]], x: Tensor, options: Options
) -> list[Result]:
    """Time the dense baselines and all layers on x, [rows, in_features], in the same rounds.

    Of a case that was packed in several formats the fastest counts, as the gate would have it.
    """
    candidates = [Candidate(name, [bind(x) for bind in b]) for name, b in dense.items()]
    with torch.inference_mode(), subject.forced(options.kernel):
        for layer in layers:
            calls = [bind(x) for bind in layer.subject.binders]
            result: Any = calls[0]()
            subject.check(result, x, layer.subject.pruned())
            candidates.append(Candidate(layer.key, calls))
            for name, binders in layer.peers.items():
                calls = [bind(x) for bind in binders]
                candidates.append(Candidate(f"{layer.key} {name}", calls, PEER_BUDGET))
        samples = measure(candidates, options.plan)
        kernels = [layer.subject.kernel(len(x)) for layer in layers]
    by_case: dict[Case, list[tuple[Layer, str]]] = {}
    for layer, kernel in zip(layers, kernels, strict=True):
        by_case.setdefault(replace(layer.case, rows=len(x)), []).append((layer, kernel))
    return [_result(case, tried, dense, samples, options) for case, tried in by_case.items()]


def _result(
    case: Case,
    tried: Sequence[tuple[Layer, str]],
    dense: Iterable[str],
    samples: Mapping[str, Samples],
    options: Options,
) -> Result:
    """The result of the fastest of the layers `tried` (with their kernels) for one case."""
    layer, kernel = min(tried, key=lambda each: samples[each[0].key].median)
    peers = {name: f"{each.key} {name}" for each, _ in tried for name in each.peers}
    beside = {name: name for name in dense if name in INT8.names()}
    work = layer.subject.work(case)
    return Result(
        work=work,
        sparse=samples[layer.key],
        dense={name: samples[name] for name in dense if name not in beside},
        peers={name: samples[key] for name, key in {**peers, **beside}.items()},
        packed_bytes=layer.subject.packed_bytes,
        kernel=kernel,
        bound=bound(work, options.roofline) if options.roofline else None,
    )


def _packings(group: Sequence[Case], options: Options) -> list[tuple[Case, str]]:
    """Every case with each of its formats, one alone where a kernel of it is to be forced."""
    found = []
    for case in group:
        formats = subject.formats(case)
        forced = [name for name in formats if (options.kernel or "").startswith(f"{name}_")]
        found += [(case, name) for name in forced or formats]
    return found


def _layer(
    case: Case, format: str, weight: Tensor, options: Options, teller: Teller
) -> Layer | None:
    try:
        made = subject.make(case, weight, format)
    except subject.NoKernel as reason:
        teller.skipped(f"{case.values} values, {case.pattern}", str(reason))
        return None
    # The libraries have no narrow values: their times stand beside the fp32 case.
    wanted = options.peers and case.values == "fp32" and format != "bitmap"
    peers = _prepared(PEERS, made.pruned(), case.cold, teller) if wanted else {}
    return Layer(case, format, made, peers)


def _key(case: Case, format: str) -> str:
    return f"{case.pattern} {case.sparsity:g} {case.values} {format}"
