"""Measures sparse convolutions: dense ones, the sparse layer and its peers, in the same rounds.

Dense are torch in both memory formats, and ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks import conv_subject, subject
from benchmarks.bounds import bound
from benchmarks.cases import SPARSITIES
from benchmarks.conv_cases import PATTERNS, SHAPES, ConvCase, Shape, cases
from benchmarks.dense_conv import dense_calls
from benchmarks.peers import prepare_convs
from benchmarks.peers._onnx import conv_model
from benchmarks.result import Result
from benchmarks.roofline import Roofline
from benchmarks.subject import Call, Subject
from benchmarks.teller import Teller
from benchmarks.timing import Candidate, Plan, measure

PEER_BUDGET = 2.0
"""Seconds a peer may take per case; slower ones get fewer rounds."""


@dataclass(frozen=True)
class Options:
    """What to measure, and how.

    Args:
        plan: how many rounds.
        shapes: convolutions.
        images: batches.
        sparsities: shares of zeros, of patterns that have none of their own.
        patterns: as of `Case`.
        peers: whether to time other sparse libraries too.
        kernel: name of a kernel to force; None lets the package choose.
        roofline: what results are judged by; None prints no share of a bound.
    """

    plan: Plan = field(default_factory=Plan)
    shapes: Sequence[Shape] = SHAPES
    images: Sequence[int] = (1,)
    sparsities: Sequence[float] = SPARSITIES
    patterns: Sequence[str] = PATTERNS
    peers: bool = True
    kernel: str | None = None
    roofline: Roofline | None = None


def run(options: Options, say: Callable[[str], None]) -> Iterator[list[Result]]:
    """Measure everything selected; yields the results of one shape and batch at a time.

    Args:
        options: what and how.
        say: is told once for each library that is absent, and why.
    """
    from secateur import _extension

    if not _extension.load():
        say(f"no kernels: {_extension.reason()}")
    teller = Teller(say)
    for shape in options.shapes:
        for images in options.images:
            group = cases(shape, images, options.sparsities, options.patterns)
            if group:
                yield measured(group, options, teller)


def measured(group: Sequence[ConvCase], options: Options, teller: Teller) -> list[Result]:
    """Time the dense baselines and all cases of one shape and batch in the same rounds.

    Raises:
        ValueError: if a sparse result is wrong.
    """
    conv, x = conv_subject.make_conv(group[0]), conv_subject.images_of(group[0])
    with torch.inference_mode(), subject.forced(options.kernel):
        dense = dense_calls(conv, x, partial(conv_model, conv), teller)
        calls = dict(dense)
        candidates = [Candidate(name, [call]) for name, call in calls.items()]
        made, peers = [], []
        for case in group:
            layer = conv_subject.make(case, conv)
            made.append(layer)
            candidates.append(Candidate(case.label, [_checked(case, conv, layer, x)]))
            beside = _peers(case, conv, layer.pruned(), x, teller) if options.peers else {}
            peers.append(list(beside))
            candidates += [
                Candidate(f"{case.label} {name}", [call], PEER_BUDGET)
                for name, call in beside.items()
            ]
        samples = measure(candidates, options.plan)
        kernels = [layer.kernel(case.rows) for layer, case in zip(made, group, strict=True)]
    works = [layer.work(case) for layer, case in zip(made, group, strict=True)]
    return [
        Result(
            sparse=samples[work.case.label],
            dense={name: samples[name] for name in dense},
            work=work,
            packed_bytes=layer.packed_bytes,
            kernel=kernel,
            peers={name: samples[f"{work.case.label} {name}"] for name in names},
            bound=bound(work, options.roofline) if options.roofline else None,
        )
        for work, layer, kernel, names in zip(works, made, kernels, peers, strict=True)
    ]


def _checked(case: ConvCase, conv: torch.nn.Conv2d, layer: Subject, x: Tensor) -> Call:
    call = layer.binders[0](x)
    y: Any = call()
    if not conv_subject.right(conv, layer.pruned(), x, y):
        raise ValueError(f"{case.label}: the sparse result is wrong; run the tests")
    return call


def _peers(
    case: ConvCase, conv: torch.nn.Conv2d, pruned: Tensor, x: Tensor, teller: Teller
) -> dict[str, Call]:
    """Return the sparse libraries that can run a case; none of them knows of blocks or channels."""
    if case.pattern in ("rows", "blocks"):
        return {}
    ready, absent = prepare_convs(conv, pruned, x)
    teller.all_skipped(absent)
    return ready
