from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import readme, run, verify
from benchmarks.verify import Verdict

ROOT = Path(__file__).parents[2]
SMALL = ["--shapes", "96x64", "--rows", "1", "9", "--sparsity", "0.5", "0.9", "--rounds", "3"]


def write_test(root: Path, body: str) -> None:
    (root / "tests" / "ops").mkdir(parents=True)
    (root / "tests" / "ops" / "test_it.py").write_text(f"def test_it():\n    {body}\n")


@pytest.mark.parametrize(("body", "green"), [("assert True", True), ("assert False", False)])
def test_the_verdict_is_that_of_the_tests(tmp_path: Path, body: str, green: bool) -> None:
    write_test(tmp_path, body)
    verdict = verify.verify(["tests/ops"], tmp_path)
    assert verdict.green is green
    assert ("1 passed" if green else "1 failed") in verdict.summary


def test_what_is_not_timed_is_not_tested(tmp_path: Path) -> None:
    write_test(tmp_path, "assert False")
    (tmp_path / "tests" / "ops" / "test_other.py").write_text("def test_fast():\n    pass\n")
    assert not verify.verify(["tests/ops"], tmp_path).green
    assert "1 passed" in verify.verify(["tests/ops"], tmp_path, but="test_it").summary


def test_tests_that_are_missing_or_empty_are_red(tmp_path: Path) -> None:
    missing = verify.verify(["tests/ops"], tmp_path)
    assert not missing.green
    assert "no tests at tests/ops" in missing.summary
    write_test(tmp_path, "pass")
    (tmp_path / "tests" / "ops" / "test_it.py").write_text("")
    assert not verify.verify(["tests/ops"], tmp_path).green


def test_every_benchmark_has_tests_to_pass_first() -> None:
    assert set(verify.TESTS) == set(run.WHATS)
    for tests in verify.TESTS.values():
        assert tests
        assert all((verify.ROOT / path).exists() for path in tests)


def test_a_red_run_measures_nothing_and_prints_no_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def must_not_run(_: object) -> None:
        raise AssertionError("measured although the tests are red")

    monkeypatch.setattr(verify, "verify", lambda _, but: Verdict(False, "1 failed"))
    monkeypatch.setattr(run, "measure", must_not_run)
    assert run.main(["linear", "--quick"]) == 1
    out = capsys.readouterr().out
    assert "1 failed" in out
    assert "No speed is printed" in out
    assert "speed-up" not in out


def test_a_green_run_measures_and_ends_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[object] = []
    monkeypatch.setattr(verify, "verify", lambda _, but: Verdict(True, "9 passed"))
    monkeypatch.setattr(run, "measure", measured.append)
    assert run.main([]) == 0
    assert len(measured) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--shapes", "12"], "OUTxIN"),
        (["--pattern", "bsr"], "N:M"),
        (["--sparsity", "1.5"], "[0, 1)"),
        (["--rows", "0"], "at least 1"),
        (["convolutions"], "invalid choice"),
    ],
)
def test_bad_arguments_are_named(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run.main(arguments)
    assert told in capsys.readouterr().err


def test_quick_keeps_nothing_and_takes_two_row_counts() -> None:
    chosen = run.parser().parse_args(["linear", "--quick"])
    assert run.selection(chosen).rows == (256, 1)
    assert run.selection(chosen).values == ("fp32",)
    assert run.plan(chosen).rounds == 7
    assert chosen.csv is None


def test_the_whole_way_on_a_small_layer(tmp_path: Path) -> None:
    """The script as a user runs it: figures for every case, peers beside them, a CSV."""
    path = tmp_path / "small.csv"
    command = [sys.executable, "benchmarks/run.py", "linear", "--no-verify", *SMALL]
    done = subprocess.run(
        [*command, "--csv", str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "NOT RUN" in done.stdout
    assert "torch_csr ms" in done.stdout
    for case in ("96x64 50% x1", "96x64 90% x9", "96x64 2:4 x9"):
        assert case in done.stdout
    assert len(path.read_text().splitlines()) == 1 + 2 * 3


def test_what_is_printed_replaces_what_stands_between_the_markers(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    begin, end = readme.markers("linear")
    path.write_text(f"above\n{begin}\nold\n{end}\nbelow\n")
    for text in ("first", "second"):
        lines = ["facts", f"\n{text}, 0.5 loss"]
        readme.write("linear", "python benchmarks/run.py linear", lines, path)
    written = path.read_text()
    assert written.startswith(f"above\n{begin}\n")
    assert written.endswith(f"{end}\nbelow\n")
    assert "second, 0.5 loss" in written
    assert "`python benchmarks/run.py linear`" in written
    assert "first" not in written
    assert "old" not in written


def test_a_readme_with_one_marker_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    for text in ("mine\n{0}\n", "mine\n{1}\n", "mine\n{1}\n{0}\n"):
        broken = text.format(*readme.markers("conv"))
        path.write_text(broken)
        with pytest.raises(ValueError, match="must have the lines"):
            readme.write("conv", "command", ["line"], path)
        assert path.read_text() == broken


def test_every_benchmark_has_a_section_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("mine\n")
    for what in ("linear", "conv", "nets", "conv"):
        readme.write(what, f"run {what}", [f"figures of {what}"], path)
    written = path.read_text()
    assert written.startswith("mine\n")
    places = [written.index(f"figures of {what}") for what in ("linear", "conv", "nets")]
    assert places == sorted(places)
    assert written.count("figures of conv") == 1


def test_the_readme_has_the_markers() -> None:
    text = readme.README.read_text()
    for marker in readme.markers("linear"):
        assert text.count(marker) == 1


def test_packing_is_printed_in_dense_calls_and_dense_weights(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = ["--shapes", "96x64", "--sparsity", "0.5", "--rounds", "3", "--no-verify"]
    assert run.main(["pack", *small]) == 0
    out = capsys.readouterr().out
    for part in ("dense calls", "peak, dense weights", "96x64 50%", "96x64 2:4", "10/"):
        assert part in out


def test_two_layers_in_one_call_are_compared_with_two_calls() -> None:
    command = [sys.executable, "benchmarks/run.py", "mlp", "--no-verify", "--rounds", "3"]
    small = ["--shapes", "96x64", "--rows", "17", "40", "--sparsity", "0.5", "0.9"]
    done = subprocess.run([*command, *small], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("64-96-64")]
    assert [(line[1], line[2]) for line in lines] == [
        (rows, zeros) for zeros in ("50%", "90%") for rows in ("17", "40")
    ]
    assert all("1.15x" in line and ("met" in line or "missed" in line) for line in lines)


def test_convolutions_are_printed_as_linear_layers_are(tmp_path: Path) -> None:
    path = tmp_path / "conv.csv"
    small = [
        "--shapes",
        "512x2048",
        "--sparsity",
        "0.9",
        "--pattern",
        "csr",
        "2:4",
        "--rounds",
        "3",
    ]
    command = [sys.executable, "benchmarks/run.py", "conv", "--no-verify", "--quick", *small]
    done = subprocess.run(
        [*command, "--csv", str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for part in ("2048>512 1x1 @7, 1 image", "2048>512 1x1 @7 2:4", "GF/s useful", "asked/got"):
        assert part in done.stdout
    assert "torch_csr ms" not in done.stdout
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["pattern"], row["channels"], row["images"]) for row in rows] == [
        ("csr", "2048", "1"),
        ("2:4", "2048", "1"),
    ]
    assert all(float(row["torch_nhwc_s"]) > 0 and row["commit"] for row in rows)


def test_channels_of_no_convolution_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["conv", "--shapes", "3x5"])
    assert "got 3x5" in capsys.readouterr().err
