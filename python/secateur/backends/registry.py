"""Which candidate runs a problem on a GPU: by what was measured, else by the cost model.

Never slower than dense: a sparse candidate is taken from `THRESHOLD` on, and the dense product
everywhere else, as long as there is a dense copy to multiply with.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

import secateur.backends.verdicts as kept
from secateur.backends import _triton
from secateur.backends.candidates import CANDIDATES, DENSE, Candidate, Problem, candidates
from secateur.backends.gpus import Gpu

THRESHOLD = 1.1  # dense over sparse, from which sparse is taken
REFERENCE = "reference"


@dataclass(frozen=True)
class Estimate:
    """What is known of one candidate for one problem.

    Attributes:
        candidate: which.
        predicted_s: seconds by the cost model, or None where it cannot run.
        measured_s: seconds on this machine, or None where it was not measured.
        refusal: why it cannot run, in words; None if it can.
    """

    candidate: Candidate
    predicted_s: float | None
    measured_s: float | None
    refusal: str | None


@dataclass(frozen=True)
class Pick:
    """What runs a problem, and why.

    Attributes:
        name: of the candidate, or "reference".
        candidate: None for the reference.
        seconds: of the one picked; None for the reference.
        dense_s: of the best dense one.
        measured: whether both times were measured.
        reason: in words.
        estimates: of every candidate of the format and of the dense ones.
    """

    name: str
    candidate: Candidate | None
    seconds: float | None
    dense_s: float | None
    measured: bool
    reason: str
    estimates: tuple[Estimate, ...]


def of_format(format: str, *, convolves: bool = False) -> list[Candidate]:
    """Return every candidate that reads `format`, for linear layers or for convolutions."""
    found = candidates(format, convolves=convolves)
    return found if convolves else [*found, *_triton.candidates(format)]


def formats(*, convolves: bool = False) -> set[str]:
    """Return the packed formats that some candidate reads."""
    each = [CANDIDATES.get(name) for name in CANDIDATES.names()]
    found = {candidate.format for candidate in each if candidate.convolves == convolves} - {DENSE}
    return found if convolves else found | _triton.formats()


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions that a measured time depends on."""
    found = {"torch": torch.__version__, "cuda": str(torch.version.cuda)}
    try:
        from importlib import metadata

        found["secateur"] = metadata.version("secateur")
    except metadata.PackageNotFoundError:
        found["secateur"] = "unknown"
    return found


def estimates(
    format: str,
    problem: Problem,
    gpu: Gpu,
    verdicts: kept.Verdicts | None = None,
    *,
    installed: bool = True,
) -> list[Estimate]:
    """Return what is known of each candidate of `format` and of the dense ones.

    Args:
        format: packed format.
        problem: the call.
        gpu: that would run it; it need not be here.
        verdicts: measured times; None: those of this machine.
        installed: whether a candidate whose library is missing here is refused.
    """
    verdicts = kept.VERDICTS if verdicts is None else verdicts
    times = verdicts.find(kept.machine(gpu, versions()), kept.key(format, problem))
    found, convolves = [], problem.convolution is not None
    for candidate in (
        *of_format(format, convolves=convolves),
        *of_format(DENSE, convolves=convolves),
    ):
        refusal = candidate.refuses(problem, gpu)
        if refusal is None and installed:
            refusal = candidate.missing() or None
        predicted = None if refusal else candidate.predict(problem.work, gpu)
        measured = None if refusal else times.get(candidate.name)
        found.append(Estimate(candidate, predicted, measured, refusal))
    return found


def pick(
    format: str,
    problem: Problem,
    gpu: Gpu,
    verdicts: kept.Verdicts | None = None,
    *,
    dense: bool = True,
    installed: bool = True,
) -> Pick:
    """Return what runs `problem`, see `estimates`.

    Args:
        format: packed format.
        problem: the call.
        gpu: that would run it; it need not be here.
        verdicts: measured times; None: those of this machine.
        dense: whether there is a dense copy to multiply with.
        installed: whether a candidate whose library is missing here is refused.
    """
    known = tuple(estimates(format, problem, gpu, verdicts, installed=installed))
    able = [e for e in known if e.refusal is None]
    sparse = [e for e in able if e.candidate.format != DENSE]
    others = [e for e in able if e.candidate.format == DENSE]
    # A measured time and a predicted one are not compared.
    measured = any(e.measured_s for e in sparse) and any(e.measured_s for e in others)
    seconds = _measured if measured else _predicted
    best = min(sparse, key=seconds, default=None)
    rival = min(others, key=seconds, default=None)
    how = "measured" if measured else "predicted"
    if best is None:
        reasons = "; ".join(f"{e.candidate.name} {e.refusal}" for e in known if e.refusal)
        why = f"no sparse candidate runs it: {reasons or f'there is none for {format}'}"
        if dense and rival is not None:
            return _pick(rival, rival, seconds, measured, why, known)
        return Pick(REFERENCE, None, None, None, False, why, known)
    if rival is None:
        return _pick(best, None, seconds, measured, "no dense candidate runs it", known)
    ratio = seconds(rival) / seconds(best)
    said = f"{how} {ratio:.2f}x of {rival.candidate.name}"
    if ratio >= THRESHOLD or not dense:
        return _pick(best, rival, seconds, measured, f"{best.candidate.name} is {said}", known)
    why = f"{best.candidate.name} is {said}, below {THRESHOLD}x"
    return _pick(rival, rival, seconds, measured, why, known)


def measure(
    format: str,
    problem: Problem,
    gpu: Gpu,
    clock: Callable[[Candidate], float],
    verdicts: kept.Verdicts | None = None,
) -> Mapping[str, float]:
    """Time every candidate that can run `problem` here, keep the times, and return them.

    Args:
        format: packed format.
        problem: the call.
        gpu: this machine's.
        clock: returns the seconds of a candidate's call; one that raises RuntimeError (out of
            memory, a library's refusal) is left out.
        verdicts: where to keep them; None: those of this machine.
    """
    verdicts = kept.VERDICTS if verdicts is None else verdicts
    where, words = kept.machine(gpu, versions()), kept.key(format, problem)
    times = dict(verdicts.find(where, words))
    for estimate in estimates(format, problem, gpu, verdicts):
        if estimate.refusal is None and estimate.measured_s is None:
            try:
                times[estimate.candidate.name] = clock(estimate.candidate)
            except RuntimeError:
                continue
    verdicts.keep(where, words, times)
    return times


def _pick(
    chosen: Estimate,
    rival: Estimate | None,
    seconds: Callable[[Estimate], float],
    measured: bool,
    reason: str,
    known: tuple[Estimate, ...],
) -> Pick:
    dense_s = None if rival is None else seconds(rival)
    name = chosen.candidate.name
    return Pick(name, chosen.candidate, seconds(chosen), dense_s, measured, reason, known)


def _measured(estimate: Estimate) -> float:
    return estimate.measured_s or float("inf")


def _predicted(estimate: Estimate) -> float:
    return estimate.predicted_s or float("inf")
