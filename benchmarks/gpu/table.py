"""Every prediction beside its measurement, as a table and as a CSV file. Arithmetic, no GPU."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.gpu.cases import Case
from secateur.backends import registry
from secateur.backends.candidates import DENSE
from secateur.backends.gpus import Gpu
from secateur.backends.verdicts import Verdicts

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RATIOS = ("speedup", "predicted_speedup", "off", "bandwidth", "of_roof")


@dataclass(frozen=True)
class Line:
    """One candidate in one case; times in seconds, None where there is none.

    Attributes:
        layer: what the shape is of.
        out_features: of the weight.
        in_features: of the weight.
        rows: of x.
        density: fraction of the weight that is kept.
        dtype: of x and the values.
        candidate: its name.
        measured_s: seconds on the GPU.
        predicted_s: seconds by the model.
        dense_measured_s: of cuBLAS, or cuDNN, on the same problem.
        dense_predicted_s: of it by the model.
        weight_bytes: of the compressed weight, that pass once.
        roof_s: the least time of bytes and multiplications at the data sheet's rates.
        error: largest error over its bound, at most 1 where right; None where not looked at.
        note: why it was not measured, or "".
    """

    layer: str
    out_features: int
    in_features: int
    rows: int
    density: float
    dtype: str
    candidate: str
    measured_s: float | None
    predicted_s: float | None
    dense_measured_s: float | None
    dense_predicted_s: float | None
    weight_bytes: float
    roof_s: float
    error: float | None = None
    note: str = ""

    @property
    def speedup(self) -> float | None:
        """The dense product over this candidate, both measured."""
        return _ratio(self.dense_measured_s, self.measured_s)

    @property
    def predicted_speedup(self) -> float | None:
        """The dense product over this candidate, both predicted."""
        return _ratio(self.dense_predicted_s, self.predicted_s)

    @property
    def off(self) -> float | None:
        """Measured over predicted time: 1 where the model is right."""
        return _ratio(self.measured_s, self.predicted_s)

    @property
    def bandwidth(self) -> float | None:
        """GB/s of compressed bytes."""
        return None if not self.measured_s else self.weight_bytes / self.measured_s / 1e9

    @property
    def of_roof(self) -> float | None:
        """Share of the roofline that was reached."""
        return _ratio(self.roof_s, self.measured_s)


def weight_bytes(case: Case, format: str) -> float:
    """Return the bytes of the weight that pass, with what says where its values belong."""
    p = case.problem
    weights, item = p.out_features * p.in_features, p.values.itemsize
    return weights * (
        (1.0 if format == DENSE else p.density) * item + _index_bits(case, format) / 8
    )


def _index_bits(case: Case, format: str) -> float:
    """Return the bits of index for each position of the weight."""
    if format in (DENSE, "bsr"):  # of a block, two bytes for thousands
        return 0.0
    if format == "nm":  # the place in its group, of each value
        return case.problem.density * math.ceil(math.log2(case.problem.pattern[1]))
    return 1.0  # two bits for two of four, and bitmaps


def roof(case: Case, format: str, gpu: Gpu) -> float:
    """Return the least seconds: bytes at full bandwidth, multiplications at the full peak.

    2:4 on sparse tensor cores may have twice the peak, and blocks that are pruned are left out;
    everything else multiplies all positions.
    """
    p = case.problem
    moved = weight_bytes(case, format) + p.work.moved
    rate = gpu.peak * 1e12 * (2 if format in ("semi", "semi_frag") else 1)
    flops = 2.0 * p.out_features * p.in_features * p.rows * (p.density if format == "bsr" else 1)
    return max(moved / (gpu.bandwidth * 1e9), flops / rate)


def predicted(case: Case, gpu: Gpu) -> list[Line]:
    """Return the lines of a case as the model has them, whatever is installed here."""
    known = registry.estimates(case.format, case.problem, gpu, Verdicts(), installed=False)
    dense = next(e.predicted_s for e in known if e.candidate.format == DENSE)
    return [
        line(case, gpu, e.candidate.name, e.candidate.format, (None, e.predicted_s), (None, dense))
        for e in known
        if e.refusal is None and e.candidate.format != DENSE
    ]


def line(  # noqa: PLR0913  what a line is made of
    case: Case,
    gpu: Gpu,
    name: str,
    format: str,
    seconds: tuple[float | None, float | None],
    dense: tuple[float | None, float | None],
    error: float | None = None,
    note: str = "",
) -> Line:
    """Return the line of one candidate.

    Args:
        case: what was measured.
        gpu: where.
        name: of the candidate.
        format: that it reads.
        seconds: measured and predicted.
        dense: the dense product's measured and predicted.
        error: largest error over its bound.
        note: why it was not measured.
    """
    p = case.problem
    where = (case.layer, p.out_features, p.in_features, p.rows, p.density)
    dtype = str(p.dtype).removeprefix("torch.")
    bytes_and_roof = (weight_bytes(case, format), roof(case, format, gpu))
    return Line(*where, dtype, name, *seconds, *dense, *bytes_and_roof, error, note)


HEAD = (
    *("layer", "out x in", "rows", "kept", "candidate", "us", "predicted", "off"),
    *("x dense", "predicted", "GB/s", "of roof", "error", ""),
)


def text(lines: Sequence[Line]) -> str:
    """Return the table as it is printed; a dash where there is no number."""
    return aligned([HEAD, *map(_cells, lines)], (0, 4, len(HEAD) - 1))


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Return rows of cells as columns, those of the numbers in `left` to the left."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in rows
    )


def write(
    path: Path,
    lines: Sequence[DataclassInstance],
    facts: Mapping[str, str],
    ratios: Sequence[str] = RATIOS,
) -> None:
    """Write a CSV file anew: the facts, the fields of a line, and its ratios, named properties."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        names = [field.name for field in fields(lines[0])] if lines else []
        writer = csv.DictWriter(file, [*facts, *names, *ratios], lineterminator="\n")
        writer.writeheader()
        for each in lines:
            computed = {name: getattr(each, name) for name in ratios}
            writer.writerow({**facts, **asdict(each), **computed})


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.layer,
        f"{line.out_features}x{line.in_features}",
        str(line.rows),
        f"{line.density:.0%}",
        line.candidate,
        number(line.measured_s, 1e6, 1),
        number(line.predicted_s, 1e6, 1),
        number(line.off, 1, 2),
        number(line.speedup, 1, 2),
        number(line.predicted_speedup, 1, 2),
        number(line.bandwidth, 1, 0),
        "-" if line.of_roof is None else f"{line.of_roof:.0%}",
        number(line.error, 1, 2),
        line.note,
    )


def first_words(failure: Exception) -> str:
    """Return what an exception says, short enough for a note."""
    return str(failure).splitlines()[0][:80]


def number(value: float | None, scale: float, digits: int) -> str:
    """Return a number as tables show it; a dash for none."""
    return "-" if value is None else f"{value * scale:.{digits}f}"


def _ratio(over: float | None, under: float | None) -> float | None:
    return None if not over or not under else over / under
