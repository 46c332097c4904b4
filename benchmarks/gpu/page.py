"""Writes the tables of docs/gpu.md from the model itself: python -m benchmarks.gpu.page."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.gpu.cases import BLOCK, CONVS, Case, convolution
from benchmarks.gpu.table import predicted
from secateur.backends import roofline
from secateur.backends.candidates import Problem
from secateur.backends.gpus import KNOWN, Gpu, known

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gpu.md"
SHOWN = ("A100-SXM4-80GB", "RTX 4090", "H100", "H200", "B200")
ROWS = (1, 16, 64, 256, 4096)
BATCH = 32
LARGE = (8192, 8192)

# What is said of each candidate: format, fraction kept, pattern as the format means it.
CLAIMS = (
    ("semi_frag", 0.5, (2, 4)),
    *(("lb32", density, (0, 0)) for density in (0.5, 0.3, 0.2, 0.1)),
    *(("n32", n / 32, (n, 32)) for n in (16, 8, 4)),
    *(("bsr", density, BLOCK) for density in (0.2, 0.1)),
    ("nm", 0.25, (1, 4)),
)


def gpus() -> str:
    """Return the table of GPUs."""
    head = f"{'GPU':<16}{'sm':>4}{'SMs':>5}{'GB/s':>7}{'TFLOP/s':>9}{'int8':>6}{'GHz':>7}  source"
    rows = [
        f"{g.name:<16}{g.capability:>4}{g.sms:>5}{g.bandwidth:>7.0f}{g.peak:>9.0f}"
        f"{g.peak * g.int8:>6.0f}{g.clock:>7.3f}  {g.source}"
        for g in KNOWN
    ]
    return "\n".join([head, *rows])


def shares() -> str:
    """Return every constant of the model, its value, and its ground."""
    text = Path(roofline.__file__).read_text()
    body, lines = ast.parse(text).body, []
    for at, node in enumerate(body[:-1]):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name, after = node.targets[0].id, body[at + 1]
        ground = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            ground = " ".join(str(after.value.value).split())
        lines.append(f"{name} = {getattr(roofline, name)}")
        lines += textwrap.wrap(ground, 110, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def speedups() -> str:
    """Return the predicted time of cuBLAS over that of the best sparse kernel."""
    head = f"{'format':<10}{'kept':>6}  {'GPU':<16}" + "".join(f"{rows:>8}" for rows in ROWS)
    lines = [head]
    for format, density, pattern in CLAIMS:
        for name in SHOWN:
            gpu = known(name)
            assert gpu is not None
            problems = [Problem(rows, *LARGE, density, pattern=pattern) for rows in ROWS]
            cells = "".join(f"{_best(Case('', format, p), gpu):>8}" for p in problems)
            lines.append(f"{format:<10}{density:>6.1%}  {name:<16}{cells}")
    return "\n".join(lines)


def convolutions() -> str:
    """Return the predicted time of cuDNN over that of our convolution."""
    lines = [f"{'GPU':<16}" + "".join(f"{layer:>9}" for layer in CONVS)]
    for gpu in KNOWN:
        problems = [convolution(layer, BATCH) for layer in CONVS]
        cells = "".join(f"{_best(Case('', 'semi_frag', each), gpu):>9}" for each in problems)
        lines.append(f"{gpu.name:<16}{cells}".rstrip())
    return "\n".join(lines)


def _best(case: Case, gpu: Gpu) -> str:
    found = [(line.predicted_speedup or 0.0, line.candidate) for line in predicted(case, gpu)]
    if not found:
        return "-"
    ratio, name = max(found)
    return f"{ratio:.2f}" + ("v" if name.startswith(("cusparselt", "torch")) else " ")


def packing() -> str:
    """Return the predicted microseconds of packing and unpacking a 2:4 weight."""
    what = tuple(roofline.PACK_LAUNCHES)
    lines = [f"{'GPU':<16}" + "".join(f"{each:>9}" for each in what)]
    for name in SHOWN:
        gpu = known(name)
        assert gpu is not None
        seconds = [roofline.packing(each, roofline.Work(0, *LARGE, 0.5), gpu) for each in what]
        lines.append(f"{name:<16}" + "".join(f"{roofline.microseconds(s):>9}" for s in seconds))
    return "\n".join(lines)


def int8() -> str:
    """Return the predicted time of cuBLAS over that of our 2:4 product, both of int8."""
    lines = [f"{'GPU':<16}" + "".join(f"{rows:>8}" for rows in ROWS)]
    for gpu in KNOWN:
        works = [roofline.int8_work(rows, *LARGE) for rows in ROWS]
        ratios = [roofline.int8_dense(w, gpu) / roofline.semi_product(w, gpu) for w in works]
        lines.append(f"{gpu.name:<16}" + "".join(f"{ratio:>8.2f}" for ratio in ratios))
    return "\n".join(lines)


TABLES: Mapping[str, Callable[[], str]] = {
    "gpus": gpus,
    "shares": shares,
    "speedups": speedups,
    "packing": packing,
    "int8": int8,
    "convolutions": convolutions,
}


def written(page: str) -> str:
    """Return the page with every table as the model has it now."""
    for name, table in TABLES.items():
        pattern = rf"(<!-- {name} -->\n```text\n).*?(\n```)"
        text = table()
        page, count = re.subn(
            pattern, lambda found, text=text: found[1] + text + found[2], page, flags=re.DOTALL
        )
        if count != 1:
            raise ValueError(f"the page must have one table {name!r}, it has {count}")
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
