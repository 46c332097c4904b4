"""Packing and unpacking of 2:4 on a GPU: what is timed, what is predicted, and torch's own beside.

A call is the user's, tensors made and errors looked for. What it gives is first compared, byte by
byte, with the definition in plain torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.sparse import to_sparse_semi_structured

from benchmarks.gpu import table
from benchmarks.gpu.cases import SHAPES
from secateur.backends import clock, cuda, roofline
from secateur.backends.cuda import _packing
from secateur.backends.gpus import Gpu
from secateur.backends.roofline import Work
from secateur.formats._pairs import packer

WHAT = ("pack", "prune", "unpack")
FORMAT_NAMES = ("semi_frag", "semi")
WRONG = "WRONG"
RATIOS = ("off", "bandwidth", "of_bandwidth", "speedup")
LAYERS = ("7B qkvo", "8B gate/up", "70B down", "small")


@dataclass(frozen=True)
class Line:
    """One way of a float16 weight of one layer; times in seconds, None where there is none.

    Attributes:
        layer: what the shape is of.
        out_features: of the weight.
        in_features: of the weight.
        format: of 2:4.
        what: "pack" by a mask, "prune" by magnitude and pack, or "unpack".
        bytes: that pass at least.
        gpu_bytes_s: the data sheet's bandwidth.
        predicted_s: by the model.
        measured_s: on the GPU.
        peer_s: of torch's own, to_sparse_semi_structured and its to_dense.
        note: why something was not measured, or "".
    """

    layer: str
    out_features: int
    in_features: int
    format: str
    what: str
    bytes: float
    gpu_bytes_s: float
    predicted_s: float
    measured_s: float | None = None
    peer_s: float | None = None
    note: str = ""

    @property
    def off(self) -> float | None:
        """Measured over predicted time."""
        return self.measured_s and self.measured_s / self.predicted_s

    @property
    def bandwidth(self) -> float | None:
        """GB/s of the bytes that must pass."""
        return self.measured_s and self.bytes / self.measured_s / 1e9

    @property
    def of_bandwidth(self) -> float | None:
        """Share of the data sheet's bandwidth."""
        return self.measured_s and self.bytes / self.measured_s / self.gpu_bytes_s

    @property
    def speedup(self) -> float | None:
        """Time of torch's own over ours, both measured."""
        return self.measured_s and self.peer_s and self.peer_s / self.measured_s


def predicted(gpu: Gpu) -> list[Line]:
    """Return every line as the model has it."""
    lines = []
    for layer in LAYERS:
        work = Work(0, *SHAPES[layer], 0.5)
        for format in FORMAT_NAMES:
            for what in WHAT:
                size = roofline.packing_bytes(what, work)
                seconds = roofline.packing(what, work, gpu)
                where = (layer, *SHAPES[layer], format, what)
                lines.append(Line(*where, size, gpu.bandwidth * 1e9, seconds))
    return lines


def measured(line: Line, device: torch.device) -> Line:
    """Return a line with its times; without a kernel, or where the bytes differ, there are none."""
    op = "nm_unpack" if line.what == "unpack" else "nm_pack"
    if not _packing.named(op, line.format, torch.float16, device):
        return replace(line, note=cuda.why_not() or f"the library has no {op}")
    try:
        weight, mask = _weight(line, device)
        ours = _ours(line, weight, mask)
        if ours is None:
            return replace(line, note=WRONG)
        line = replace(line, measured_s=clock.seconds(ours, device))
    except RuntimeError as failure:  # of memory, or a refusal at the launch
        return replace(line, note=table.first_words(failure))
    if line.what == "prune":  # torch has none that prunes along rows alone
        return line
    try:
        theirs = _theirs(line, weight.masked_fill(~mask, 0))
        return replace(line, peer_s=clock.seconds(theirs, device))
    except (RuntimeError, ValueError) as failure:  # it asks for other GPUs, or other shapes
        return replace(line, note=f"torch: {table.first_words(failure)}")


def _weight(line: Line, device: torch.device) -> tuple[Tensor, Tensor]:
    gen = torch.Generator(device).manual_seed(0)
    shape = (line.out_features, line.in_features)
    weight = torch.randn(shape, generator=gen, device=device).half()
    draw = torch.rand(shape, generator=gen, device=device).view(len(weight), -1, 4)
    mask = (draw.argsort(2).argsort(2) < 2).view(shape)
    return weight, mask


def _ours(line: Line, weight: Tensor, mask: Tensor) -> Callable[[], object] | None:
    """Return our call, or None if it gives other bytes than the definition."""
    format = packer(line.format)
    kept = None if line.what == "prune" else mask
    values, index = format.packed_by_torch(weight, kept)
    if line.what == "unpack":
        dense = format.unpack(values, index)
        right = _same(dense, format.unpacked_by_torch(values, index))
        return (lambda: format.unpack(values, index)) if right else None

    def run() -> tuple[Tensor, Tensor]:
        packed = format.pack_largest(weight) if kept is None else format.pack(weight, kept)
        return packed.values, packed.index

    found = run()
    return run if _same(found[0], values) and _same(found[1], index) else None


def _theirs(line: Line, dense: Tensor) -> Callable[[], object]:
    if line.what == "pack":
        return lambda: to_sparse_semi_structured(dense)
    sparse = to_sparse_semi_structured(dense)
    return sparse.to_dense  # type: ignore[no-any-return]


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.view(torch.uint8), other.view(torch.uint8))


HEAD = (
    *("layer", "out x in", "format", "what", "us", "predicted", "off", "GB/s", "of bandwidth"),
    *("torch us", "x torch", ""),
)


def text(lines: Sequence[Line]) -> str:
    """Return the table as it is printed; a dash where there is no number."""
    return table.aligned([HEAD, *map(_cells, lines)], (0, 1, 2, 3, len(HEAD) - 1))


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.layer,
        f"{line.out_features}x{line.in_features}",
        line.format,
        line.what,
        table.number(line.measured_s, 1e6, 1),
        table.number(line.predicted_s, 1e6, 1),
        table.number(line.off, 1, 2),
        table.number(line.bandwidth, 1, 0),
        "-" if line.of_bandwidth is None else f"{line.of_bandwidth:.0%}",
        table.number(line.peer_s, 1e6, 1),
        table.number(line.speedup, 1, 2),
        line.note,
    )
