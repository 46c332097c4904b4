"""Measures linear layers: dense baselines, the sparse subject and its peers, in the same rounds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks import subject
from benchmarks.bounds import bound
from benchmarks.cases import Case, Selection, cases
from benchmarks.peers import BASELINES, PEERS, prepare
from benchmarks.result import Result
from benchmarks.roofline import Roofline
from benchmarks.subject import Binder, Subject
from benchmarks.timing import Candidate, Plan, measure

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
    """One sparse layer with the peers prepared on the same weight."""

    case: Case
    subject: Subject
    peers: dict[str, Sequence[Binder]]


def run(options: Options, say: Callable[[str], None]) -> Iterator[list[Result]]:
    """Measure everything selected; yields the results of one shape and row count at a time.

    Args:
        options: what and how.
        say: is told once for each library that is absent, and why.
    """
    extension: Any = importlib.import_module("secateur._extension")
    if not extension.load():
        say(f"no kernels: {extension.reason()}")
    told: set[str] = set()
    for shape in options.selection.shapes:
        generator = torch.Generator().manual_seed(shape[0] + shape[1])
        weight = torch.randn(shape, generator=generator)
        layers = [_layer(case, weight, options) for case in cases(options.selection, shape, 1)]
        if not layers:
            continue
        dense, absent = prepare(BASELINES, weight, layers[0].case.cold)
        for name, reason in absent.items():
            if name not in told:
                say(f"{name}: skipped, {reason}")
            told.add(name)
        for rows in options.selection.rows:
            x = torch.randn((rows, shape[1]), generator=generator)
            yield measure_layers(layers, dense, x, options)


def measure_layers(
    layers: Sequence[Layer], dense: dict[str, Sequence[Binder]], x: Tensor, options: Options
) -> list[Result]:
    """Time the dense baselines and all layers on x, [rows, in_features], in the same rounds."""
    candidates = [Candidate(name, [bind(x) for bind in b]) for name, b in dense.items()]
    with torch.inference_mode(), _forced(options.kernel):
        for layer in layers:
            key = _key(layer)
            calls = [bind(x) for bind in layer.subject.binders]
            result: Any = calls[0]()
            subject.check(result, x, layer.subject.pruned)
            candidates.append(Candidate(key, calls))
            for name, binders in layer.peers.items():
                calls = [bind(x) for bind in binders]
                candidates.append(Candidate(f"{key} {name}", calls, PEER_BUDGET))
        samples = measure(candidates, options.plan)
        kernels = [layer.subject.kernel(len(x)) for layer in layers]
    results = []
    for layer, kernel in zip(layers, kernels, strict=True):
        key, case = _key(layer), _with_rows(layer.case, len(x))
        work = layer.subject.work(case)
        results.append(
            Result(
                work=work,
                sparse=samples[key],
                dense={name: samples[name] for name in dense},
                peers={name: samples[f"{key} {name}"] for name in layer.peers},
                packed_bytes=layer.subject.packed_bytes,
                kernel=kernel,
                bound=bound(work, options.roofline) if options.roofline else None,
            )
        )
    return results


def _layer(case: Case, weight: Tensor, options: Options) -> Layer:
    made = subject.make(case, weight)
    peers, _ = prepare(PEERS, made.pruned, case.cold) if options.peers else ({}, {})
    return Layer(case, made, peers)


def _forced(kernel: str | None) -> AbstractContextManager[object]:
    if kernel is None:
        return nullcontext()
    cpu: Any = importlib.import_module("secateur.backends.cpu")
    forced: AbstractContextManager[object] = cpu.forced(kernel)
    return forced


def _key(layer: Layer) -> str:
    return f"{layer.case.pattern} {layer.case.sparsity:g}"


def _with_rows(case: Case, rows: int) -> Case:
    return Case(case.out_features, case.in_features, rows, case.pattern, case.sparsity)
