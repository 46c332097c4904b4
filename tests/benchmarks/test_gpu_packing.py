"""The table of packing on a GPU: its arithmetic, and that wrong bytes are never timed."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gpu import packing, table
from benchmarks.gpu.__main__ import main
from secateur.backends import gpus, roofline

H100 = gpus.known("H100")
assert H100 is not None


def line(what: str) -> packing.Line:
    assert H100 is not None
    return next(each for each in packing.predicted(H100) if each.what == what)


def test_bytes_are_those_of_both_forms_and_of_the_mask() -> None:
    weights = 4096 * 4096
    assert line("unpack").bytes == line("prune").bytes == weights * (2 + 1 + 1 / 8)
    assert line("pack").bytes == weights * (2 + 1 + 1 / 8 + 1)


def test_nothing_is_predicted_faster_than_its_bytes_allow() -> None:
    for gpu in gpus.KNOWN:
        lines = packing.predicted(gpu)
        assert {each.what for each in lines} == set(packing.WHAT) == set(roofline.PACK_LAUNCHES)
        for each in lines:
            assert each.predicted_s > each.bytes / (gpu.bandwidth * 1e9)


def test_the_tables_arithmetic(tmp_path: Path) -> None:
    each = replace(line("pack"), measured_s=40e-6, peer_s=400e-6)
    assert each.off == pytest.approx(40e-6 / each.predicted_s)
    assert each.bandwidth == pytest.approx(4096 * 4096 * 4.125 / 40e-6 / 1e9)
    assert each.of_bandwidth == pytest.approx(4096 * 4096 * 4.125 / 40e-6 / 3350e9)
    assert each.speedup == pytest.approx(10)
    table.write(tmp_path / "packing.csv", [each], {"gpu": "H100"}, packing.RATIOS)
    with (tmp_path / "packing.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["gpu"] == "H100"
    assert float(row["speedup"]) == pytest.approx(10)
    assert float(row["predicted_s"]) == each.predicted_s


def test_what_was_not_measured_is_a_dash() -> None:
    each = replace(line("prune"), note="no kernel")
    assert each.off is each.bandwidth is each.of_bandwidth is each.speedup is None
    row = packing.text([each]).splitlines()[1]
    assert row.count(" -") == 6
    assert row.endswith("no kernel")


def test_the_dry_run_predicts_packing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--dry", "--gpu", "H100"])
    said = capsys.readouterr().out
    assert H100 is not None
    assert packing.text(packing.predicted(H100)) in said
