"""int8 x by int8 2:4 weights on a GPU: what is timed, what is predicted, and torch's own beside.

A call is the user's, of x that is int8 already. The dense one is torch._int_mm, cuBLAS underneath,
and the other sparse one torch's of CUTLASS, on GPUs of 8.x: both return the int32 sums, which ours
scales as well. What ours gives is first compared with the definition, whose bits it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.gpu import table
from benchmarks.gpu.cases import SHAPES
from benchmarks.gpu.packing import WRONG
from secateur.backends import clock, cuda, roofline
from secateur.backends.cuda import int8
from secateur.backends.gpus import Gpu
from secateur.formats import FORMATS
from secateur.formats.base import Packed
from secateur.formats.semi8 import Semi8

RATIOS = ("off", "teraops", "speedup", "predicted_speedup", "over_torch")
LAYERS = ("7B qkvo", "8B gate/up", "small")
ROWS = (16, 64, 256, 4096)
MOST_COMPARED = 64  # rows of x


@dataclass(frozen=True)
class Line:
    """One product of one layer; times in seconds, None where there is none.

    Attributes:
        layer: what the shape is of.
        out_features: of the weight.
        in_features: of the weight.
        rows: of x.
        predicted_s: by the model.
        dense_predicted_s: of torch._int_mm by the model.
        measured_s: on the GPU.
        dense_s: of torch._int_mm, which takes more than 16 rows.
        torch_s: of torch's own 2:4 product.
        note: why something was not measured, or "".
    """

    layer: str
    out_features: int
    in_features: int
    rows: int
    predicted_s: float
    dense_predicted_s: float
    measured_s: float | None = None
    dense_s: float | None = None
    torch_s: float | None = None
    note: str = ""

    @property
    def off(self) -> float | None:
        """Measured over predicted time."""
        return self.measured_s and self.measured_s / self.predicted_s

    @property
    def teraops(self) -> float | None:
        """TOP/s of all positions, pruned ones too."""
        count = 2e-12 * self.rows * self.out_features * self.in_features
        return self.measured_s and count / self.measured_s

    @property
    def speedup(self) -> float | None:
        """Time of torch._int_mm over ours, both measured."""
        return self.measured_s and self.dense_s and self.dense_s / self.measured_s

    @property
    def predicted_speedup(self) -> float:
        """The same, both predicted."""
        return self.dense_predicted_s / self.predicted_s

    @property
    def over_torch(self) -> float | None:
        """Time of torch's own 2:4 product over ours, both measured."""
        return self.measured_s and self.torch_s and self.torch_s / self.measured_s


def predicted(gpu: Gpu) -> list[Line]:
    """Return every line as the model has it."""
    lines = []
    for layer in LAYERS:
        for rows in ROWS:
            work = roofline.int8_work(rows, *SHAPES[layer])
            times = (roofline.semi_product(work, gpu), roofline.int8_dense(work, gpu))
            lines.append(Line(layer, *SHAPES[layer], rows, *times))
    return lines


def measured(line: Line, device: torch.device) -> Line:
    """Return a line with its times; without a kernel, or where a bit differs, there are none."""
    try:
        x, weight, packed = _operands(line, device)
        if not int8.kernels(x, line.out_features):
            return replace(line, note=cuda.why_not() or "the library has no product of int8")
        ours = _ours(x, packed)
        if ours is None:
            return replace(line, note=WRONG)
        line = replace(line, measured_s=clock.seconds(ours, device))
    except RuntimeError as failure:  # of memory, or a refusal at the launch
        return replace(line, note=table.first_words(failure))
    peers = {"dense_s": _dense(x, weight), "torch_s": _torch(x, packed)}
    for name, theirs in peers.items():
        try:
            line = replace(line, **{name: clock.seconds(theirs, device)})
        except (RuntimeError, ValueError) as failure:  # it asks for other GPUs, or other shapes
            line = replace(line, note=f"torch: {table.first_words(failure)}")
    return line


def _operands(line: Line, device: torch.device) -> tuple[Tensor, Tensor, Packed]:
    """Return x, and a weight both dense and packed; of random numbers, as zeros run faster."""
    gen = torch.Generator(device).manual_seed(0)
    sides = [(line.rows, line.in_features), (line.out_features, line.in_features)]
    x, weight = (
        torch.randint(-127, 128, shape, generator=gen, device=device, dtype=torch.int8)
        for shape in sides
    )
    draw = torch.rand(sides[1], generator=gen, device=device).view(len(weight), -1, 4)
    mask = (draw.argsort(2).argsort(2) < 2).view(sides[1])
    return x, weight.masked_fill(~mask, 0), FORMATS.get(int8.FORMAT).pack(weight, mask)


def _ours(x: Tensor, packed: Packed) -> Callable[[], Tensor] | None:
    """Return our call, or None if it gives other bits than the definition."""
    x_scale = torch.arange(1, len(x) + 1, device=x.device).float().rsqrt()
    scale = torch.arange(1, packed.out_features + 1, device=x.device).float().rsqrt()

    def run() -> Tensor:
        return int8.product(x, x_scale, packed, scale)

    some = slice(None, None, -(-len(x) // MOST_COMPARED))
    wanted = int8.defined(x[some], x_scale[some], packed, scale)
    return run if torch.equal(run()[some], wanted) else None


def _dense(x: Tensor, weight: Tensor) -> Callable[[], Tensor]:
    return lambda: torch._int_mm(x, weight.T)


def _torch(x: Tensor, packed: Packed) -> Callable[[], Tensor]:
    packer = FORMATS.get(int8.FORMAT)
    assert isinstance(packer, Semi8)
    values, meta = packer.to_torch(packed)
    product = torch._sparse_semi_structured_linear
    return lambda: product(x, values, meta, out_dtype=torch.int32)


HEAD = (
    *("layer", "out x in", "rows", "us", "predicted", "off", "TOP/s", "_int_mm us", "predicted"),
    *("speed-up", "predicted", "torch 2:4 us", "x torch", ""),
)


def text(lines: Sequence[Line]) -> str:
    """Return the table as it is printed; a dash where there is no number."""
    return table.aligned([HEAD, *map(_cells, lines)], (0, 1, len(HEAD) - 1))


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.layer,
        f"{line.out_features}x{line.in_features}",
        str(line.rows),
        table.number(line.measured_s, 1e6, 1),
        table.number(line.predicted_s, 1e6, 1),
        table.number(line.off, 1, 2),
        table.number(line.teraops, 1, 0),
        table.number(line.dense_s, 1e6, 1),
        table.number(line.dense_predicted_s, 1e6, 1),
        table.number(line.speedup, 1, 2),
        table.number(line.predicted_speedup, 1, 2),
        table.number(line.torch_s, 1e6, 1),
        table.number(line.over_torch, 1, 2),
        line.note,
    )
