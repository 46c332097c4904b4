"""The table of int8 products on a GPU: its arithmetic, and what the model knows of them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gpu import int8, table
from benchmarks.gpu.__main__ import main
from secateur.backends import gpus, roofline

H100 = gpus.known("H100")
assert H100 is not None


def line(rows: int = 4096) -> int8.Line:
    assert H100 is not None
    return next(each for each in int8.predicted(H100) if each.rows == rows)


def test_x_is_a_byte_y_four_and_the_peak_that_of_int8() -> None:
    work = roofline.int8_work(16, 4096, 1024)
    assert work.moved == 16 * (4 * 4096 + 1024)
    assert roofline.semi_bytes(work) == 4096 * 1024 * 5 / 8
    for name, peak in (("A100-SXM4-80GB", 624), ("RTX 3090", 284), ("H100", 1978), ("L4", 242)):
        gpu = gpus.known(name)
        assert gpu is not None
        assert roofline.math_s(gpu, work, 1.0) == pytest.approx(2e-12 * 16 * 4096 * 1024 / peak)
    assert gpus.like("no GPU of the table", 120, 84).int8 == 4  # as the nearest, an RTX 5090


def test_nothing_is_predicted_faster_than_its_bytes_allow() -> None:
    for gpu in gpus.KNOWN:
        lines = int8.predicted(gpu)
        assert {(each.layer, each.rows) for each in lines} == {
            (layer, rows) for layer in int8.LAYERS for rows in int8.ROWS
        }
        for each in lines:
            work = roofline.int8_work(each.rows, each.out_features, each.in_features)
            moved = work.moved + roofline.semi_bytes(work)
            assert each.predicted_s > moved / (gpu.bandwidth * 1e9)
            assert each.predicted_speedup < 2


def test_the_tables_arithmetic(tmp_path: Path) -> None:
    each = replace(line(), measured_s=100e-6, dense_s=150e-6, torch_s=120e-6)
    assert each.off == pytest.approx(100e-6 / each.predicted_s)
    assert each.teraops == pytest.approx(2 * 4096**3 / 100e-6 / 1e12)
    assert each.speedup == pytest.approx(1.5)
    assert each.over_torch == pytest.approx(1.2)
    table.write(tmp_path / "int8.csv", [each], {"gpu": "H100"}, int8.RATIOS)
    with (tmp_path / "int8.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["speedup"]) == pytest.approx(1.5)
    assert float(row["predicted_s"]) == each.predicted_s


def test_what_was_not_measured_is_a_dash() -> None:
    each = replace(line(), note="no kernel")
    assert each.off is each.teraops is each.speedup is each.over_torch is None
    row = int8.text([each]).splitlines()[1]
    assert row.count(" -") == 7
    assert row.endswith("no kernel")


def test_the_dry_run_predicts_int8(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--dry", "--gpu", "H100"])
    assert H100 is not None
    assert int8.text(int8.predicted(H100)) in capsys.readouterr().out
