"""`make gpu` without a GPU: its dry run, the table's arithmetic, the stages' time limits."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import cases, stages, table
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.stages import Stage
from secateur.backends import gpus
from secateur.backends.candidates import DENSE, Problem

ROOT = Path(__file__).parents[2]
H100 = gpus.known("H100")
assert H100 is not None


def test_the_dry_run_says_what_it_would_do_and_ends_well() -> None:
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'python'}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--dry"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for stage in stages.stages("90"):
        assert f"{stage.name} ({stage.limit_s} s): " in done.stdout
    assert "compute-sanitizer" in done.stdout
    assert "-DCMAKE_CUDA_ARCHITECTURES=90-real" in done.stdout
    assert "semi_frag_decode" in done.stdout
    if not torch.cuda.is_available():
        assert "There is no CUDA device here" in done.stdout


def test_an_unknown_gpu_is_refused_with_those_there_are() -> None:
    with pytest.raises(SystemExit, match=r"--gpu: wanted one of .*H100.*, got 'H1000'"):
        main(["--dry", "--gpu", "H1000"])


def test_all_stages_end_within_nine_minutes() -> None:
    planned = stages.stages("90")
    total = sum(stage.limit_s + stages.GRACE_S for stage in planned)
    assert total <= stages.WHOLE_S == 540
    assert len({stage.name for stage in planned}) == len(planned)
    bench = planned[-1].commands[0]
    assert float(bench[bench.index("--seconds") + 1]) < planned[-1].limit_s


def python(text: str, limit: int = 20) -> Stage:
    return Stage("some", "nothing", ((sys.executable, "-c", text),), limit)


def test_a_stage_over_its_limit_is_ended_with_its_children(tmp_path: Path) -> None:
    child = f"import time, pathlib; time.sleep(4); pathlib.Path({str(tmp_path / 'late')!r}).touch()"
    parent = (
        "import subprocess, sys, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "time.sleep(60)"
    )
    started = time.monotonic()
    outcome = stages.run(python(parent, limit=2), dict(os.environ))
    assert time.monotonic() - started < 2 + stages.GRACE_S + 1
    assert "over its limit" in outcome.trouble
    time.sleep(4)
    assert not (tmp_path / "late").exists()


def test_a_failed_stage_is_an_outcome_and_no_exception(capfd: pytest.CaptureFixture[str]) -> None:
    failed = stages.run(python("print('said'); raise SystemExit(3)"), dict(os.environ))
    assert "ended with 3" in failed.trouble
    assert "said" in capfd.readouterr().out
    lost = stages.run(Stage("some", "nothing", (("/no/such/program",),), 5), dict(os.environ))
    assert "does not start" in lost.trouble
    needy = stages.run(Stage("some", "nothing", (), 5, ("no-such-program", "no/such/file")), {})
    assert needy.trouble == "no-such-program, no/such/file not found"
    assert stages.run(python("pass"), dict(os.environ)).trouble == ""


def test_the_first_failing_command_ends_a_stage(tmp_path: Path) -> None:
    touch = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()"
    commands = tuple((sys.executable, "-c", text) for text in ("raise SystemExit(1)", touch))
    assert stages.run(Stage("some", "nothing", commands, 20), dict(os.environ)).trouble
    assert not (tmp_path / "ran").exists()


def test_no_failed_stage_hides_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpus, "of", lambda _: H100)
    ran = []

    def run(stage: Stage) -> stages.Outcome:
        ran.append(stage.name)
        return stages.Outcome(stage, 1.0, "it broke" if stage.name == "build" else "")

    monkeypatch.setattr(stages, "run", run)
    assert main([]) == 1
    assert ran == [stage.name for stage in stages.stages("90")]
    said = capsys.readouterr().out
    assert "FAILED: it broke" in said
    assert said.count("passed") == len(ran) - 1


def line(**changes: object) -> table.Line:
    case = cases.Case("any", "semi_frag", Problem(1, 4096, 4096, 0.5))
    assert H100 is not None
    made = table.line(case, H100, "x", "semi_frag", (8e-6, 10e-6), (12e-6, 15e-6), 0.25)
    return table.Line(**{**made.__dict__, **changes})


def test_the_tables_arithmetic() -> None:
    each = line()
    assert each.speedup == pytest.approx(12 / 8)
    assert each.predicted_speedup == pytest.approx(15 / 10)
    assert each.off == pytest.approx(8 / 10)
    assert each.weight_bytes == 4096 * 4096 * 9 / 8  # half the values, a bit a position
    assert each.bandwidth == pytest.approx(4096 * 4096 * 9 / 8 / 8e-6 / 1e9)
    bytes_s = (4096 * 4096 * 9 / 8 + 2 * 2 * 4096) / 3350e9
    assert each.roof_s == pytest.approx(bytes_s)
    assert each.of_roof == pytest.approx(bytes_s / 8e-6)
    case = cases.Case("any", "semi", Problem(8192, 4096, 4096, 0.5))
    assert H100 is not None
    assert table.roof(case, DENSE, H100) == pytest.approx(2 * 4096 * 4096 * 8192 / 989e12)
    assert table.roof(case, "semi", H100) == pytest.approx(2 * 4096 * 4096 * 8192 / 2 / 989e12)
    bitmap = cases.Case("any", "lb32", Problem(1, 1024, 1024, 0.1))
    assert table.weight_bytes(bitmap, "lb32") == pytest.approx(1024 * 1024 * (0.2 + 0.125))


def test_what_was_not_measured_is_a_dash_and_no_number() -> None:
    each = line(measured_s=None, dense_measured_s=None, error=None, note="it was refused")
    assert each.speedup is each.off is each.bandwidth is each.of_roof is None
    row = table.text([each]).splitlines()[1]
    assert row.split()[-1] == "refused"
    assert row.count(" -") == 6
    assert "10.0" in row


def test_the_file_holds_every_field_and_ratio(tmp_path: Path) -> None:
    table.write(tmp_path / "new" / "gpu.csv", [line(), line(candidate="y")], {"gpu": "H100"})
    with (tmp_path / "new" / "gpu.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["candidate"] for row in rows] == ["x", "y"]
    assert float(rows[0]["speedup"]) == pytest.approx(1.5)
    assert float(rows[0]["predicted_s"]) == 10e-6
    assert rows[0]["gpu"] == "H100"


def test_every_case_is_predicted_on_every_gpu() -> None:
    for gpu in gpus.KNOWN:
        for case in cases.CASES:
            for each in table.predicted(case, gpu):
                assert each.predicted_s is not None
                # Nothing is predicted to be faster than its bytes and multiplications allow.
                assert each.predicted_s >= each.roof_s
                assert each.dense_predicted_s is not None
