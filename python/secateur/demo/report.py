"""The figures as text: tables, losses beside wins, and the last line."""

from __future__ import annotations

from collections.abc import Iterator

from secateur.demo.figures import Figures, LayerSpeed, Speed
from secateur.demo.timing import Times
from secateur.demo.waterfall import ORDER
from secateur.planning.gate import THRESHOLD
from secateur.planning.table import table

# Work that neither model does differently varies by less than this from run to run.
WORTH_A_LINE = 1.2


def report(figures: Figures) -> str:
    """Return all tables and the list of losses, without the last line."""
    parts = (
        _heading(figures),
        _quality(figures),
        _speeds(figures),
        _waterfalls(figures),
        _layers(figures),
        _losses(figures),
    )
    return "\n\n".join(parts)


def last_line(figures: Figures) -> str:
    """Return the one line that says it all; MB are millions of bytes."""
    quality, speed = figures.quality, figures.largest
    return (
        f"demo: accuracy {quality.dense:.4f} -> {quality.sparse:.4f}, {speed.rows} rows: "
        f"{speed.torch.median:.1f} ms torch, {speed.onnxruntime.median:.1f} ms onnxruntime -> "
        f"{speed.sparse.median:.1f} ms, speedup {speed.over_torch:.2f}x over torch, "
        f"{speed.over_onnxruntime:.2f}x over onnxruntime, "
        f"file {_mb(figures.dense_size.file)} MB -> {_mb(figures.sparse_size.file)} MB"
    )


def _heading(figures: Figures) -> str:
    settings = figures.settings
    packages = ", ".join(f"{name} {version}" for name, version in figures.versions.items())
    return (
        f"MiniLM-L6 on Reuters R8, encoder linears pruned to {settings.sparsity:.0%} "
        f"({settings.pattern}), seed {settings.seed}\n"
        f"{figures.machine}, in training and timing; {packages}; {figures.seconds:.0f} s in all"
    )


def _quality(figures: Figures) -> str:
    quality, dense, sparse = figures.quality, figures.dense_size, figures.sparse_size
    title = f"accuracy, {quality.documents} test documents"
    lines = [
        (title, f"{quality.dense:.4f}", f"{quality.sparse:.4f}"),
        ("memory, whole model, MB", _mb(dense.memory), _mb(sparse.memory)),
        ("memory, encoder layers, MB", _mb(dense.encoder), _mb(sparse.encoder)),
        ("file, whole model, MB", _mb(dense.file), _mb(sparse.file)),
    ]
    points = 100 * (quality.sparse - quality.dense)
    reloaded = "the same answers" if figures.reload.same_answers else "OTHER ANSWERS"
    return "\n".join(
        (
            table(("", "dense", "sparse"), lines),
            f"Accuracy changes by {points:+.2f} points (standard error "
            f"{100 * quality.standard_error:.2f}): {quality.lost} documents lost, "
            f"{quality.gained} gained.",
            f"The loaded file gives {reloaded}; logits differ by at most "
            f"{figures.reload.largest_difference:.1g}.",
        )
    )


def _speeds(figures: Figures) -> str:
    header = ("batch", "torch ms", "onnxruntime ms", "sparse ms", "over torch", "over onnxruntime")
    lines = [
        (
            f"{speed.documents}x{speed.rows // speed.documents} tokens",
            _spread(speed.torch),
            _spread(speed.onnxruntime),
            _spread(speed.sparse),
            f"{speed.over_torch:.2f}x",
            f"{speed.over_onnxruntime:.2f}x",
        )
        for speed in figures.speeds
    ]
    rounds = len(figures.largest.sparse.values)
    return (
        f"End to end, median (quartiles) of {rounds} interleaved rounds\n{table(header, lines)}\n"
        f"Dense logits of torch and onnxruntime differ by at most "
        f"{figures.onnxruntime_difference:.1g}."
    )


def _waterfalls(figures: Figures) -> str:
    dense, sparse = figures.waterfalls["dense"], figures.waterfalls["sparse"]
    lines = [
        (kind, f"{dense.parts[kind]:.2f}", f"{sparse.parts[kind]:.2f}", _ratio(kind, figures))
        for kind in ORDER
    ]
    total = ("total", f"{dense.total:.2f}", f"{sparse.total:.2f}")
    lines.append((*total, f"{dense.total / sparse.total:.2f}x"))
    header = ("milliseconds", "dense", "sparse", "speed-up")
    return f"Where the time goes, {figures.largest.rows} rows\n{table(header, lines)}"


def _layers(figures: Figures) -> str:
    counts = sorted({layer.rows for layer in figures.layers})
    measured = {(layer.layer, layer.rows): layer for layer in figures.layers}
    lines = []
    for layer in {layer.layer: layer for layer in figures.layers}.values():
        shape = "x".join(map(str, layer.shape or ()))
        cells = [cell for rows in counts for cell in _measured(measured.get((layer.layer, rows)))]
        lines.append((layer.layer, shape, f"{layer.sparsity:.3f}", *cells))
    titles = [
        title
        for rows in counts
        for title in (f"kernel, {rows} rows", "dense ms", "sparse ms", "speed-up")
    ]
    header = ("layer", "shape", "sparsity", *titles)
    kernels = range(3, len(header), 4)
    shown = table(header, lines, left=(0, *kernels))
    return f"Layer by layer, as the gate measured (layers alike share a measurement)\n{shown}"


def _measured(layer: LayerSpeed | None) -> tuple[str, ...]:
    if layer is None:
        return ("", "", "", "")
    times = (f"{layer.dense_ms:.3f}", f"{layer.sparse_ms:.3f}")
    return (layer.kernel, *times, f"{layer.speedup:.2f}x")


def _losses(figures: Figures) -> str:
    found = [*_slow_models(figures.speeds), *_slow_layers(figures.layers), *_slow_work(figures)]
    if figures.quality.sparse < figures.quality.dense - 0.01:
        found.append("accuracy is more than one point below dense")
    if figures.sparse_size.memory > figures.dense_size.memory:
        found.append("the sparse model takes more memory than the dense one")
    return "\n".join(["Losses:", *(f"  {line}" for line in found or ["none"])])


def _slow_models(speeds: list[Speed]) -> Iterator[str]:
    for speed in speeds:
        for name, ratio in (
            ("torch", speed.over_torch),
            ("onnxruntime", speed.over_onnxruntime),
        ):
            if ratio < 1.0:
                yield f"{speed.rows} rows: sparse is {ratio:.2f}x of dense {name}"


def _slow_layers(layers: list[LayerSpeed]) -> Iterator[str]:
    for rows in sorted({layer.rows for layer in layers}):
        slow = [layer for layer in layers if layer.rows == rows and layer.speedup < THRESHOLD]
        if slow:
            worst = min(layer.speedup for layer in slow)
            yield (
                f"{len(slow)} layers stay dense at {rows} rows, at worst {worst:.2f}x: "
                f"{', '.join(layer.layer for layer in slow)}"
            )


def _slow_work(figures: Figures) -> Iterator[str]:
    dense, sparse = figures.waterfalls["dense"].parts, figures.waterfalls["sparse"].parts
    for kind in ORDER:
        if sparse[kind] > WORTH_A_LINE * dense[kind]:
            yield f"{kind}: {dense[kind]:.2f} ms in the dense model, {sparse[kind]:.2f} in sparse"


def _ratio(kind: str, figures: Figures) -> str:
    before, after = (figures.waterfalls[name].parts[kind] for name in ("dense", "sparse"))
    return f"{before / after:.2f}x" if after > 0 else ""


def _spread(times: Times) -> str:
    low, high = times.quartiles
    return f"{times.median:.2f} ({low:.2f}-{high:.2f})"


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f}"
