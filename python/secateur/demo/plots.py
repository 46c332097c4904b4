"""The figures as pictures: training, milliseconds, layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from secateur.demo.figures import Figures
from secateur.demo.waterfall import ORDER

DENSE, RIVAL, SPARSE = "#8c8c8c", "#c7955a", "#2f7d4f"
DOTS_PER_INCH = 130


def draw(figures: Figures, folder: Path) -> list[Path]:
    """Write all plots and return their files."""
    plots = {"training": _training, "milliseconds": _milliseconds, "layers": _layers}
    written = []
    for name, plot in plots.items():
        figure = plot(figures)
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=DOTS_PER_INCH)
        pyplot.close(figure)
        written.append(path)
    return written


def _training(figures: Figures) -> Any:
    figure, left = pyplot.subplots(figsize=(8, 4), layout="constrained")
    start = len(figures.adapting)
    placed = [(p.step, p) for p in figures.adapting]
    placed += [(start + p.step, p) for p in figures.healing]
    seen = [(step, p.held_out) for step, p in placed if p.held_out is not None]
    left.plot(*zip(*seen, strict=True), color=SPARSE, marker="o", label="held-out documents")
    left.axhline(figures.quality.dense, color=DENSE, linestyle="--", label="dense, test")
    left.axhline(figures.quality.sparse, color=SPARSE, linestyle=":", label="sparse, test")
    left.axvline(start, color="black", linewidth=0.6)
    left.set(xlabel="training step: dense, then pruning", ylabel="accuracy")
    right = left.twinx()
    steps, levels = zip(*((step, p.sparsity) for step, p in placed), strict=True)
    right.step(steps, levels, color=RIVAL, where="post", label="sparsity")
    right.set(ylabel="sparsity of the encoder", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return figure


def _milliseconds(figures: Figures) -> Any:
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
    for axis, speed in zip(axes, figures.speeds, strict=False):
        contenders = (speed.torch, speed.onnxruntime, speed.sparse)
        medians = [times.median for times in contenders]
        errors = [
            [t.median - t.quartiles[0] for t in contenders],
            [t.quartiles[1] - t.median for t in contenders],
        ]
        names = ("torch", "onnxruntime", "sparse")
        bars = axis.bar(names, medians, color=(DENSE, RIVAL, SPARSE), yerr=errors, capsize=4)
        axis.bar_label(bars, fmt="%.1f", padding=3)
        title = f"{speed.rows} rows: {speed.over_torch:.2f}x over torch"
        axis.set(title=title, ylabel="milliseconds, median and quartiles")
    _stack(axes[-1], figures)
    return figure


def _stack(axis: Any, figures: Figures) -> None:
    colours = [f"C{number}" for number in range(len(ORDER))]
    for at, (name, waterfall) in enumerate(figures.waterfalls.items()):
        below = 0.0
        for colour, kind in zip(colours, ORDER, strict=False):
            label = kind if at == 0 else None
            axis.bar(name, waterfall.parts[kind], bottom=below, color=colour, label=label)
            below += waterfall.parts[kind]
    axis.set(title=f"{figures.largest.rows} rows, part by part", ylabel="milliseconds")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")


def _layers(figures: Figures) -> Any:
    figure, axis = pyplot.subplots(figsize=(8, 9), layout="constrained")
    names = list(dict.fromkeys(layer.layer for layer in figures.layers))
    counts = sorted({layer.rows for layer in figures.layers})
    height = 0.8 / max(1, len(counts))
    for number, (rows, colour) in enumerate(zip(counts, (RIVAL, SPARSE), strict=False)):
        speeds = {entry.layer: entry.speedup for entry in figures.layers if entry.rows == rows}
        places = [names.index(name) + (number - 0.5) * height for name in speeds]
        axis.barh(places, list(speeds.values()), height, color=colour, label=f"{rows} rows")
    axis.axvline(1.0, color="black", linewidth=0.8)
    axis.set(xlabel="speed-up over dense (torch), as the gate measured")
    axis.set_yticks(range(len(names)), names, fontsize="small")
    axis.invert_yaxis()
    axis.legend(frameon=False)
    return figure
