"""The one table of `make gpu`: every prediction beside its measurement. Arithmetic, no GPU."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from benchmarks.gpu.cases import Case
from secateur.backends import registry
from secateur.backends.candidates import DENSE
from secateur.backends.gpus import Gpu
from secateur.backends.verdicts import Verdicts


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
    """Return the bytes of the weight that pass: of 2:4 and bitmaps with their masks."""
    p = case.problem
    weights, item = p.out_features * p.in_features, p.values.itemsize
    masks = {DENSE: 0.0, "semi": 0.125, "semi_frag": 0.125, "lb32": 0.125, "n32": 0.125}
    return weights * ((1.0 if format == DENSE else p.density) * item + masks[format])


def roof(case: Case, format: str, gpu: Gpu) -> float:
    """Return the least seconds: bytes at full bandwidth, multiplications at the full peak.

    2:4 on sparse tensor cores may have twice the peak; everything else multiplies all positions.
    """
    p = case.problem
    moved = weight_bytes(case, format) + p.work.moved
    rate = gpu.peak * 1e12 * (2 if format in ("semi", "semi_frag") else 1)
    flops = 2.0 * p.out_features * p.in_features * p.rows
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
    rows = [HEAD, *[_cells(each) for each in lines]]
    wide = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    left = (0, 4, len(HEAD) - 1)
    shown = [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(shown)


def write(path: Path, lines: Sequence[Line], facts: dict[str, str]) -> None:
    """Write a CSV file anew: the facts, the fields of a line, and its ratios."""
    ratios = ("speedup", "predicted_speedup", "off", "bandwidth", "of_roof")
    columns = [*facts, *(field.name for field in fields(Line)), *ratios]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
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
        _number(line.measured_s, 1e6, 1),
        _number(line.predicted_s, 1e6, 1),
        _number(line.off, 1, 2),
        _number(line.speedup, 1, 2),
        _number(line.predicted_speedup, 1, 2),
        _number(line.bandwidth, 1, 0),
        "-" if line.of_roof is None else f"{line.of_roof:.0%}",
        _number(line.error, 1, 2),
        line.note,
    )


def _number(value: float | None, scale: float, digits: int) -> str:
    return "-" if value is None else f"{value * scale:.{digits}f}"


def _ratio(over: float | None, under: float | None) -> float | None:
    return None if not over or not under else over / under
