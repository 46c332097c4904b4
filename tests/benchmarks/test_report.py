from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import record, report
from benchmarks.bounds import Bound, Work, bound, loads
from benchmarks.cases import Case
from benchmarks.machine import Caches, caches
from benchmarks.result import Result, geometric_mean
from benchmarks.roofline import Roofline
from benchmarks.targets import TARGETS
from benchmarks.timing import Samples
from secateur.planning.gate import THRESHOLD

ROOF = Roofline(
    isa="avx2",
    width=8,
    threads=1,
    fma=128e9,
    operand=128e9,
    tile=112e9,
    read={"L2": 64e9, "L3": 32e9, "DRAM": 16e9},
    caches=Caches(l1=32 << 10, l2=1 << 20, l3=32 << 20),
)


def result(case: Case, torch_s: float, ort_s: float | None, sparse_s: float) -> Result:
    dense = {"torch": Samples((torch_s,) * 4)}
    if ort_s is not None:
        dense["ort"] = Samples((ort_s,) * 4)
    nonzeros = round(case.weights * (1 - case.sparsity))
    return Result(
        work=Work(nonzeros, 5 * nonzeros, case),
        sparse=Samples((sparse_s,) * 4),
        dense=dense,
        packed_bytes=6 * nonzeros,
        kernel="csr_linear/avx2",
        bound=Bound(sparse_s / 2, "ports"),
    )


def case(rows: int = 256, sparsity: float = 0.9, shape: tuple[int, int] = (3072, 768)) -> Case:
    return Case(*shape, rows, "csr", sparsity)


def test_the_baseline_is_the_faster_dense_library() -> None:
    made = result(case(), torch_s=0.030, ort_s=0.020, sparse_s=0.005)
    assert made.best_dense == "ort"
    assert made.speedup.median == pytest.approx(4)
    assert result(case(), 0.030, None, 0.005).speedup.median == pytest.approx(6)


def test_rates_count_kept_weights_or_all_of_them() -> None:
    made = result(case(), 0.03, 0.02, 0.01)
    assert made.useful_rate == pytest.approx(2 * made.work.nonzeros * 256 / 0.01)
    assert made.dense_rate == pytest.approx(2 * 3072 * 768 * 256 / 0.01)
    assert made.bytes_per_weight == 6 * made.work.nonzeros / (3072 * 768)
    assert made.share_of_bound == 0.5


def test_losses_are_printed_like_wins_and_named() -> None:
    wins, loses = result(case(), 0.03, 0.02, 0.01), result(case(), 0.03, 0.02, 0.04)
    text = report.lines([wins, loses], [])
    assert len(text) == 3
    assert "2.00 ±0%" in text[1]
    assert "loss" not in text[1]
    assert "0.50 ±0% loss" in text[2]


def test_a_table_names_the_baseline_the_bound_the_kernel_and_the_peers() -> None:
    made = result(case(), 0.03, 0.02, 0.01)
    made = replace(made, peers={"torch_csr": Samples((0.05,))})
    heading, line = report.lines([made], ["torch_csr", "other"])
    assert heading.endswith("torch_csr ms  other ms")
    for part in ("*20", "50% ports", "csr_linear/avx2", "3072x768 90% x256"):
        assert part in line
    assert line.split()[-3:] == ["50", "(5.00x)", "-"]


def test_dense_int8_stands_beside_the_cases_that_have_it_and_is_no_baseline() -> None:
    made = result(case(1), 0.03, 0.02, 0.01)
    beside = replace(made, peers={"int8": Samples((0.005,) * 4)})
    assert report.lines([made], ["torch_csr", "int8"])[0].endswith("torch_csr ms")
    heading, with_it, without = report.lines([beside, made], ["torch_csr", "int8"])
    assert heading.split()[-4:] == ["torch_csr", "ms", "int8", "ms"]
    assert with_it.endswith("5 (0.50x)")
    assert without.endswith("-")
    assert beside.speedup.median == pytest.approx(2)


def test_a_target_of_narrow_values_counts_those_values_only() -> None:
    target = next(t for t in TARGETS if t.values == "bf16")
    wide = result(Case(4096, 4096, 1, "csr", 0.9), 0.08, 0.08, 0.01)
    narrow = result(Case(4096, 4096, 1, "csr", 0.9, "bf16"), 0.08, 0.08, 0.02)
    assert report.target_cell(target, "90%", [wide]) == ""
    assert report.target_cell(target, "90%", [wide, narrow]) == "6/4.00* miss"


def test_without_a_roofline_there_is_no_share_of_a_bound() -> None:
    made = replace(result(case(), 0.03, 0.02, 0.01), bound=None)
    assert report.cells(made)[report.HEADINGS.index("% of bound")] == "-"
    assert made.share_of_bound is None


def test_targets_compare_geometric_means_with_what_was_asked() -> None:
    target = next(t for t in TARGETS if t.rows == 256)
    results = [
        result(case(shape=shape), 0.04, 0.04, 0.04 / speed)
        for shape, speed in zip(target.shapes, (4, 8, 8, 8, 8), strict=True)
    ]
    mean = (4 * 8**4) ** 0.2
    assert report.target_cell(target, "90%", results) == f"5.8/{mean:.2f}"
    assert report.target_cell(target, "90%", results[:1]) == "5.8/4.00* miss"
    assert report.target_cell(target, "80%", results) == ""


def test_where_no_number_is_asked_the_gate_answers() -> None:
    cached = next(t for t in TARGETS if "cached" in t.label)
    slow, fast = (result(case(1, 0.5), 0.01, 0.01, 0.01 / speed) for speed in (1.05, 1.2))
    assert report.target_cell(cached, "50%", [slow]) == "gate dense/1.05"
    assert report.target_cell(cached, "50%", [fast]) == "gate sparse/1.20"


def test_the_gate_is_the_package_s_own() -> None:
    assert report.GATE_MARGIN == THRESHOLD


def test_a_run_outside_the_targets_says_so() -> None:
    odd = result(Case(96, 64, 3, "csr", 0.9), 0.02, 0.02, 0.01)
    assert report.target_lines([odd]) == ["no case of this run belongs to a target"]


def test_columns_line_up() -> None:
    assert report.aligned([["case", "ms"], ["a", "12.5"]]) == ["case    ms", "a     12.5"]


def test_the_geometric_mean_of_nothing_is_an_error() -> None:
    assert geometric_mean([1, 4, 16]) == pytest.approx(4)
    with pytest.raises(ValueError, match="at least one"):
        geometric_mean([])


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (64, 8.5),  # 8 vectors of tokens, a quarter each for weight and index
        (256, 4 * 8.5),
        (16, 2.5),
        (80, 8.5 + 2.5),
        (65, 8.5 + 1.5),
    ],
)
def test_loads_per_nonzero_of_the_tile_kernel(rows: int, wanted: float) -> None:
    work = Work(1000, 0, case(rows))
    assert loads(work, 8) == 1000 * wanted


def test_with_one_row_only_the_weights_are_sure_to_be_loaded() -> None:
    work = Work(1024, 5 * 1024, Case(64, 64, 1, "csr", 0.75))
    assert loads(work, 8) == 1024 / 8 * 1.25
    assert bound(work, ROOF).kind == "L2"


def test_the_larger_bound_binds() -> None:
    many = Work(100_000, 500_000, case(256))
    assert bound(many, ROOF) == Bound(100_000 * 34 / 8e9, "ports")
    cold = Case(4096, 4096, 1, "csr", 0.95)
    few = Work(838_861, 4_194_305, cold)
    assert bound(few, ROOF) == Bound(few.bytes_moved / 16e9, "DRAM")
    assert few.bytes_moved == 4_194_305 + 4 * 2 * 4096


def test_csv_lines_are_appended_under_one_heading(tmp_path: Path) -> None:
    path = tmp_path / "results" / "linear.csv"
    facts = {"machine": "a, b", "commit": "abc"}
    rows = [
        record.row(r, facts, roof, ["torch_csr"])
        for r in (result(case(), 0.03, 0.02, 0.01), result(case(1), 0.03, None, 0.01))
        for roof in (ROOF, None)
    ]
    record.append(path, rows[:2])
    record.append(path, rows[2:])
    record.append(path, [])
    with path.open(newline="") as file:
        there = list(csv.DictReader(file))
    assert there == rows
    assert float(there[0]["speedup"]) == pytest.approx(2)
    assert there[2]["ort_s"] == ""


def test_a_csv_of_other_columns_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "linear.csv"
    path.write_text("date,speed\n1,2\n")
    with pytest.raises(ValueError, match="other columns"):
        record.append(path, [{"date": "1", "speedup": "2"}])
    assert path.read_text() == "date,speed\n1,2\n"


def test_cache_sizes_are_read_and_have_defaults(tmp_path: Path) -> None:
    assert caches(tmp_path) == Caches()
    for index, (level, kind, size) in enumerate(
        [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2048K")]
    ):
        room = tmp_path / f"index{index}"
        room.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (room / name).write_text(text + "\n")
    assert caches(tmp_path) == Caches(l1=48 << 10, l2=2 << 20)
