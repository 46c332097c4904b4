"""The tables and the last line, from made-up figures."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from secateur.demo.evaluate import Answers
from secateur.demo.figures import Figures, LayerSpeed, Quality, Reload, Speed, write_json
from secateur.demo.report import last_line, report
from secateur.demo.settings import Settings
from secateur.demo.sizes import Sizes
from secateur.demo.timing import Times
from secateur.demo.train import Point
from secateur.demo.waterfall import ORDER, Waterfall


@pytest.fixture
def figures() -> Figures:
    return Figures(
        settings=Settings(),
        machine="a machine, 2 threads",
        versions={"torch": "2.13.0"},
        quality=Quality(1000, 0.965, 0.9621, lost=9, gained=6),
        speeds=[
            Speed(1, 64, Times((10.0,)), Times((4.0,)), Times((5.0,))),
            Speed(16, 1024, Times((100.0, 120.0, 110.0)), Times((90.0,) * 3), Times((40.0,) * 3)),
        ],
        dense_size=Sizes(90_000_000, 42_000_000, 90_300_000),
        sparse_size=Sizes(60_000_000, 12_000_000, 55_500_000),
        layers=[
            LayerSpeed("layers.0.q", (384, 384), 0.85, 64, "torch", 1.0, 2.0, ""),
            LayerSpeed("layers.0.q", (384, 384), 0.85, 1024, "csr_linear_avx2", 9.0, 3.0, ""),
        ],
        waterfalls={
            "dense": Waterfall(dict.fromkeys(ORDER, 2.0)),
            "sparse": Waterfall(dict.fromkeys(ORDER, 1.0) | {"gelu": 3.0}),
        },
        adapting=[Point(1, 0.5, 0.0, 0.9)],
        healing=[Point(1, 0.4, 0.2, None), Point(2, 0.3, 0.85, 0.95)],
        reload=Reload(True, 0.0),
        onnxruntime_difference=1e-6,
        seconds=240.0,
    )


def test_last_line(figures: Figures) -> None:
    assert last_line(figures) == (
        "demo: accuracy 0.9650 -> 0.9621, 1024 rows: 110.0 ms torch, 90.0 ms onnxruntime -> "
        "40.0 ms, speedup 2.75x over torch, 2.25x over onnxruntime, file 90.3 MB -> 55.5 MB"
    )


def test_the_report_says_losses_beside_wins(figures: Figures) -> None:
    text = report(figures)
    losses = text[text.index("Losses:") :].splitlines()[1:]
    assert losses == [
        "  64 rows: sparse is 0.80x of dense onnxruntime",
        "  1 layers stay dense at 64 rows, at worst 0.50x: layers.0.q",
        "  gelu: 2.00 ms in the dense model, 3.00 in sparse",
    ]
    assert "Accuracy changes by -0.29 points (standard error 0.39): 9 documents lost" in text
    assert re.search(r"16x64 tokens +110.00 \(105.00-115.00\)", text)


@pytest.mark.parametrize(
    ("change", "loss"),
    [
        ({"quality": Quality(1000, 0.965, 0.95, 15, 0)}, "more than one point below dense"),
        ({"sparse_size": Sizes(91_000_000, 43_000_000, 1)}, "takes more memory than the dense"),
        ({"reload": Reload(False, 1.0)}, "OTHER ANSWERS"),
    ],
)
def test_bad_news_is_printed(figures: Figures, change: dict[str, object], loss: str) -> None:
    assert loss in report(replace(figures, **change))


def test_json_holds_the_ratios(figures: Figures, tmp_path: Path) -> None:
    write_json(figures, tmp_path / "figures.json")
    data = json.loads((tmp_path / "figures.json").read_text())
    assert data["speeds"][1]["over_torch"] == 2.75
    assert data["layers"][1]["speedup"] == 3.0
    assert data["settings"]["out"] == "out/demo"


def test_plots(figures: Figures, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from secateur.demo.plots import draw

    files = draw(figures, tmp_path)
    assert [file.name for file in files] == ["training.png", "milliseconds.png", "layers.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_quality_compares_document_by_document() -> None:
    labels = torch.tensor([0, 1, 2, 3])
    dense = Answers(torch.tensor([0, 1, 2, 0]), labels)
    sparse = Answers(torch.tensor([0, 1, 0, 3]), labels)
    assert Quality.of(dense, sparse) == Quality(4, 0.75, 0.75, lost=1, gained=1)
