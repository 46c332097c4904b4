"""Measures candidates in every case on this machine's GPU, packing, int8; prints, keeps CSVs.

Times are medians with the L2 cache emptied before each call; below 20 us they are those of a CUDA
graph over copies of the weight that together are larger than L2, since queueing a call takes longer
than that. Data are random normal numbers: zeros would run faster.
"""

from __future__ import annotations

import argparse
import functools
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.gpu import int8, packing, table
from benchmarks.gpu.cases import CASES, Case
from benchmarks.gpu.table import Line
from secateur.backends import clock, cuda, gpus, registry
from secateur.backends.candidates import DENSE, Candidate, Operands, candidates
from secateur.backends.gpus import Gpu
from secateur.backends.vendor import cublas, cudnn
from secateur.backends.verdicts import Verdicts
from secateur.formats import FORMATS, Packed

RESULTS = Path(__file__).resolve().parents[1] / "results"
GRAPH_BELOW_S = 20e-6
L2_BYTES = 128 * 2**20  # more than any of them has
REPLAYS = 20
FEW_COPIES, MOST_COPIES = 4, 64
WEIGHTS = 16  # kept packed: more than the formats and densities of one layer
MOST_COMPARED = 64  # rows of x, or images


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure until the time is used up; return 0 if every candidate that ran was right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=100.0)
    options = parser.parse_args(arguments)
    gpu, ends = gpus.of(0), time.monotonic() + options.seconds
    if cuda.why_not():
        print(f"none of our CUDA kernels runs here: {cuda.why_not()}")
    name = gpu.name.lower().replace(" ", "-")
    device = torch.device("cuda", 0)
    packed = [packing.measured(line, device) for line in packing.predicted(gpu)]
    print(packing.text(packed) + "\n")
    table.write(RESULTS / f"gpu-{name}-packing.csv", packed, facts(gpu), packing.RATIOS)
    whole = [int8.measured(line, device) for line in int8.predicted(gpu)]
    print(int8.text(whole) + "\n")
    table.write(RESULTS / f"gpu-{name}-int8.csv", whole, facts(gpu), int8.RATIOS)
    lines: list[Line] = []
    skipped = 0
    for case in CASES:
        if time.monotonic() > ends:
            skipped += 1
            continue
        lines += measured(case, gpu, device)
    print(table.text(lines))
    if skipped:
        print(f"{skipped} of {len(CASES)} cases were not reached in {options.seconds:.0f} s")
    table.write(RESULTS / f"gpu-{name}.csv", lines, facts(gpu))
    wrong = [each for each in lines if each.error is not None and not each.error <= 1]
    for each in wrong:
        print(f"WRONG: {each.candidate} in {each.layer}, {each.rows} rows: {each.error}")
    notes = [line.note for line in (*packed, *whole)]
    return int(bool(wrong) or packing.WRONG in notes)


def facts(gpu: Gpu) -> dict[str, str]:
    """Return where the numbers are from."""
    return {
        "gpu": gpu.name,
        "capability": str(gpu.capability),
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def measured(case: Case, gpu: Gpu, device: torch.device) -> list[Line]:
    """Return the lines of a case: each sparse candidate, with the dense one beside it."""
    operands = made(case, device)
    known = registry.estimates(case.format, case.problem, gpu, Verdicts())
    (rival,) = candidates(DENSE, convolves=case.problem.convolution is not None)
    dense_s, lines = _seconds(rival, operands, device), []
    dense = (dense_s, rival.predict(case.problem.work, gpu))
    for estimate in known:
        candidate = estimate.candidate
        if candidate.format == DENSE:
            continue
        note, seconds, error = estimate.refusal or "", None, None
        if not note:
            try:
                error = over_bound(candidate, operands)
                seconds = _seconds(candidate, operands, device)
            except RuntimeError as failure:  # of memory, or a refusal at the launch
                note = table.first_words(failure)
        predicted = candidate.predict(case.problem.work, gpu)
        both = (seconds, predicted)
        name, format = candidate.name, candidate.format
        lines.append(table.line(case, gpu, name, format, both, dense, error, note))
    return lines


def made(case: Case, device: torch.device) -> Operands:
    """Return random operands of a case, the weight packed."""
    p, conv = case.problem, case.problem.convolution
    dense, packed = _weight(replace(case, problem=replace(p, rows=0, convolution=None)), device)
    gen = torch.Generator(device).manual_seed(1)
    size = (p.rows, p.in_features) if conv is None else conv.image
    x = torch.randn(size, generator=gen, device=device).to(p.dtype)
    bias = torch.randn(p.out_features, generator=gen, device=device).to(p.dtype)
    if conv is not None:
        x = x.contiguous(memory_format=torch.channels_last)
        taps = (p.out_features, *conv.kernel_size, conv.image[1] // conv.groups)
        dense = dense.view(taps).movedim(-1, 1)
    return Operands(
        x=x,
        values=packed.values,
        index=packed.index,
        bias=bias,
        residual=None,
        scale=None,
        dense=dense,
        out_features=p.out_features,
        act="none",
        convolution=conv,
    )


@functools.lru_cache(maxsize=WEIGHTS)
def _weight(case: Case, device: torch.device) -> tuple[Tensor, Packed]:
    """Return the random weight of cases that differ in x alone, dense and packed.

    Most formats are packed by the CPU: at every case anew, that would take the time of measuring.
    """
    p = case.problem
    gen = torch.Generator(device).manual_seed(0)
    shape = (p.out_features, p.in_features)
    mask = _mask(case, gen, device)
    dense = torch.randn(shape, generator=gen, device=device).to(p.dtype).masked_fill_(~mask, 0)
    return dense, FORMATS.get(case.format).pack(dense, mask)


def _mask(case: Case, gen: torch.Generator, device: torch.device) -> Tensor:
    """Return a random mask of the case's pattern, exactly as dense as it is said to be."""
    p = case.problem
    shape = (p.out_features, p.in_features)
    if case.format == "lb32":
        return torch.rand(shape, generator=gen, device=device) < p.density
    if case.format == "bsr":
        high, wide = p.pattern
        draw = torch.rand((shape[0] // high, shape[1] // wide), generator=gen, device=device)
        limit = draw.flatten().kthvalue(max(1, round(p.density * draw.numel()))).values
        return (draw <= limit).repeat_interleave(high, 0).repeat_interleave(wide, 1)
    n, m = p.pattern if p.pattern[1] else (2, 4)
    groups = torch.rand(shape, generator=gen, device=device).view(shape[0], -1, m)
    return (groups.argsort(2).argsort(2) < n).view(shape)


def over_bound(candidate: Candidate, call: Operands) -> float:
    """Return the largest error of y over its bound against fp64: at most 1 where it is right.

    The bound is (k + 2) eps Σ|x||w| + eps |bias| + u |y|: float32 sums, y rounded to its type.
    """
    assert call.dense is not None
    assert call.bias is not None
    rows = call.x[: min(len(call.x), MOST_COMPARED)]
    y = candidate.run(call)[: len(rows)].double()
    product = cublas.run if call.convolution is None else cudnn.run
    x, weight, bias = rows.double(), call.dense.double(), call.bias.double()
    wanted = product(replace(call, x=x, dense=weight, bias=bias))
    absolute = product(replace(call, x=x.abs(), dense=weight.abs(), bias=None))
    eps, unit = torch.finfo(torch.float32).eps, torch.finfo(call.x.dtype).eps / 2
    of_bias = bias.abs() if call.convolution is None else bias.abs()[:, None, None]
    bound = (weight[0].numel() + 2) * eps * absolute + eps * of_bias
    bound = bound + unit * wanted.abs() + torch.finfo(call.x.dtype).smallest_normal * unit
    ratio = (y - wanted).abs() / bound
    return float(ratio.nan_to_num(nan=float("inf")).max())


def _seconds(candidate: Candidate, call: Operands, device: torch.device) -> float:
    """Return the seconds of one call; see the top of this file."""
    eager = clock.seconds(lambda: candidate.run(call), device)
    if eager >= GRAPH_BELOW_S:
        return eager
    return min(eager, in_graph(candidate.run, _copies(call), device))


def _copies(call: Operands) -> list[Operands]:
    """Return as many copies of the operands as L2 cannot hold together."""
    size = call.values.nbytes + call.index.nbytes
    count = min(MOST_COPIES, max(FEW_COPIES, -(-2 * L2_BYTES // max(size, 1))))
    copies = []
    for _ in range(count):
        assert call.dense is not None
        tensors = {name: getattr(call, name).clone() for name in ("values", "index", "dense")}
        copies.append(Operands(**{**call.__dict__, **tensors}))
    return copies


def in_graph(
    run: Callable[[Operands], Tensor], calls: Sequence[Operands], device: torch.device
) -> float:
    """Return the seconds of one call within a graph of them all, the median of several replays."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for call in calls:
                run(call)  # what is made at the first call is not made within the capture
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for call in calls:
                run(call)
        return clock.seconds(graph.replay, device, REPLAYS) / len(calls)


if __name__ == "__main__":
    sys.exit(main())
