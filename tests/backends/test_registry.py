"""Picking a candidate is arithmetic on a description: asked here about every GPU of the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from secateur.backends import gpus, registry, roofline, verdicts
from secateur.backends.candidates import CANDIDATES, DENSE, Candidate, Problem
from secateur.backends.convolution import Convolution
from secateur.backends.gpus import KNOWN, Gpu
from secateur.backends.verdicts import Verdicts
from secateur.formats import FORMATS

SHAPES = [(4096, 4096), (14336, 4096), (8192, 28672), (768, 3072)]
ROWS = [1, 8, 16, 17, 64, 65, 256, 1024, 8192]
NONE = Verdicts()


def gpu(name: str) -> Gpu:
    found = gpus.known(name)
    assert found is not None
    return found


def picked(format: str, problem: Problem, on: Gpu, table: Verdicts = NONE) -> registry.Pick:
    return registry.pick(format, problem, on, table, installed=False)


@pytest.mark.parametrize("on", KNOWN, ids=lambda g: g.name)
def test_sparse_is_picked_only_where_it_is_a_tenth_faster(on: Gpu) -> None:
    for format in sorted(registry.formats()):
        for density in (0.5, 0.3, 0.1):
            for shape in SHAPES:
                for rows in ROWS:
                    pick = picked(format, Problem(rows, *shape, density), on)
                    assert pick.seconds is not None
                    assert pick.dense_s is not None
                    assert pick.candidate is not None
                    able = {e.candidate.format for e in pick.estimates if e.refusal is None}
                    if pick.candidate.format == DENSE:
                        best = min(
                            (
                                e.predicted_s
                                for e in pick.estimates
                                if e.predicted_s and e.candidate.format != DENSE
                            ),
                            default=float("inf"),
                        )
                        assert pick.dense_s / best < registry.THRESHOLD
                    else:
                        assert pick.dense_s / pick.seconds >= registry.THRESHOLD
                        assert pick.candidate.format in able


@pytest.mark.parametrize("name", ["H100", "H200", "B200"])
@pytest.mark.parametrize("format", ["semi", "semi_frag"])
def test_many_rows_of_two_of_four_are_left_to_vendors_beyond_ampere(name: str, format: str) -> None:
    for shape in SHAPES:
        for rows in (256, 1024, 8192):
            pick = picked(format, Problem(rows, *shape, 0.5), gpu(name))
            assert pick.name in ("cublas", f"cusparselt_{format}")


@pytest.mark.parametrize("name", ["A100-SXM4-80GB", "H100", "H200", "RTX 4090", "RTX 3090", "L4"])
def test_one_layout_serves_one_row_and_a_thousand(name: str) -> None:
    one, many = (
        picked("semi_frag", Problem(rows, 8192, 8192, 0.5), gpu(name)) for rows in (1, 1024)
    )
    assert one.name == "semi_frag_decode"
    assert many.name in ("semi_frag_product", "cusparselt_semi_frag", "cublas")


def convolution(batch: int, channels: int, side: int, out: int, **shape: object) -> Problem:
    image = (batch, channels, side, side)
    return Problem.of_convolution(Convolution(image, (3, 3), **shape), out, 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("on", KNOWN, ids=lambda g: g.name)
def test_a_sparse_convolution_is_picked_only_where_it_is_a_tenth_faster(on: Gpu) -> None:
    for batch in (1, 8, 128):
        for channels, side in ((64, 56), (256, 14), (512, 7)):
            pick = picked("semi_frag", convolution(batch, channels, side, channels), on)
            assert {e.candidate.name for e in pick.estimates} == {"semi_frag_conv2d", "cudnn"}
            assert pick.seconds is not None
            assert pick.dense_s is not None
            if pick.name == "semi_frag_conv2d":
                assert pick.dense_s / pick.seconds >= registry.THRESHOLD
                # Elsewhere only where the weight is most of what is read.
                assert on.capability // 10 in (8, 12) or batch == 1
            else:
                ours = next(e.predicted_s for e in pick.estimates if e.candidate.format != DENSE)
                assert ours is not None
                assert pick.dense_s / ours < registry.THRESHOLD


def test_the_model_of_a_convolution_sees_its_image_groups_and_pixels() -> None:
    on, whole = gpu("A100-SXM4-80GB"), convolution(32, 128, 28, 128)
    assert whole.work.moved == 2 * 32 * 128 * (28 * 28 + 26 * 26)  # x once, and y
    linear = Problem(whole.rows, 128, 9 * 128, 0.5)
    assert linear.work.moved > 4 * whole.work.moved
    for predict in (roofline.semi_convolution, roofline.cudnn):
        times = [predict(convolution(n, 128, 28, 128).work, on) for n in (1, 8, 64, 512)]
        assert times == sorted(times)
        assert times[-1] == pytest.approx(8 * times[-2], rel=0.25)  # but for the last wave
        split = convolution(32, 128, 28, 128, groups=2)
        assert split.in_features == whole.in_features // 2
        assert predict(split.work, on) < predict(whole.work, on)


@pytest.mark.parametrize("name", ["L4", "L40S"])
def test_a_convolution_that_waits_for_its_images_is_as_fast_as_cudnn(name: str) -> None:
    on, work = gpu(name), convolution(128, 64, 56, 64, padding=(1, 1, 1, 1)).work
    assert work.moved > 1000 * roofline.semi_bytes(work)
    ours, dense = roofline.semi_convolution(work, on), roofline.cudnn(work, on)
    assert ours == pytest.approx(dense, rel=0.01)


def test_small_layers_stay_dense() -> None:
    assert picked("semi_frag", Problem(1, 256, 256, 0.5), gpu("H100")).name == "cublas"


def test_measured_times_come_before_predicted_ones() -> None:
    on, problem, table = gpu("H100"), Problem(1, 4096, 4096, 0.5), Verdicts()
    assert picked("semi_frag", problem, on).name == "semi_frag_decode"
    where, key = verdicts.machine(on, registry.versions()), verdicts.key("semi_frag", problem)
    table.keep(where, key, {"semi_frag_decode": 10e-6})
    assert not picked("semi_frag", problem, on, table).measured  # with nothing to compare it with
    table.keep(where, key, {"cublas": 10.5e-6})
    pick = picked("semi_frag", problem, on, table)
    assert (pick.name, pick.measured, pick.seconds) == ("cublas", True, 10.5e-6)
    assert "measured 1.05x of cublas, below 1.1x" in pick.reason
    by_name = {e.candidate.name: e for e in pick.estimates}
    assert by_name["semi_frag_decode"].measured_s == 10e-6
    assert by_name["semi_frag_decode"].predicted_s is not None
    table.keep(where, key, {"semi_frag_decode": 9e-6})
    assert picked("semi_frag", problem, on, table).name == "semi_frag_decode"


def test_verdicts_are_of_one_machine_problem_and_version() -> None:
    table, problem = Verdicts(), Problem(1, 4096, 4096, 0.5)
    slow = {"semi_frag_decode": 1.0, "cublas": 1e-6}
    where = verdicts.machine(gpu("H100"), registry.versions())
    table.keep(where, verdicts.key("semi_frag", problem), slow)
    assert picked("semi_frag", problem, gpu("H100"), table).name == "cublas"
    assert picked("semi_frag", problem, gpu("H200"), table).name == "semi_frag_decode"
    others = [
        Problem(2, 4096, 4096, 0.5),
        Problem(1, 4096, 8192, 0.5),
        Problem(1, 4096, 4096, 0.5, torch.bfloat16, torch.bfloat16),
        Problem(1, 4096, 4096, 0.5, act="relu"),
    ]
    for other in others:
        assert not picked("semi_frag", other, gpu("H100"), table).measured
    assert verdicts.machine(gpu("H100"), {"torch": "2.11"}) != where


def test_the_table_survives_the_process_and_a_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "gpu-times.json"
    Verdicts(path).keep("machine", "key", {"a": 1e-6})
    Verdicts(path).keep("machine", "key", {"b": 2e-6})
    assert Verdicts(path).find("machine", "key") == {"a": 1e-6, "b": 2e-6}
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    for text in (
        "{",
        "[]",
        '{"machine": {"key": {"a": -1.0}}}',
        '{"machine": {"key": {"a": "x"}}}',
    ):
        path.write_text(text)
        broken = Verdicts(path)
        with pytest.warns(UserWarning, match="gpu-times.json holds no times that can be read"):
            assert broken.find("machine", "key") == {}
        broken.keep("machine", "key", {"c": 3e-6})
        assert json.loads(path.read_text()) == {"machine": {"key": {"c": 3e-6}}}


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    table = Verdicts(tmp_path / "file" / "gpu-times.json")
    table.keep("machine", "key", {"a": 1e-6})
    assert table.find("machine", "key") == {"a": 1e-6}


def test_every_candidate_that_is_here_is_timed_and_a_failing_one_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem, on, table = Problem(1, 4096, 4096, 0.5), gpu("A100-SXM4-80GB"), Verdicts()
    able = [
        e.candidate.name
        for e in registry.estimates("semi", problem, on, table, installed=False)
        if e.refusal is None
    ]
    monkeypatch.setattr(registry, "estimates", _all_installed(registry.estimates))
    seen = []

    def clock(candidate: Candidate) -> float:
        seen.append(candidate.name)
        if candidate.name == "semi_product":
            raise RuntimeError("out of memory")
        return 1e-6

    times = registry.measure("semi", problem, on, clock, table)
    assert sorted(seen) == sorted(able)
    assert set(times) == set(able) - {"semi_product"}
    registry.measure("semi", problem, on, clock, table)
    assert sorted(seen) == sorted([*able, "semi_product"])  # nothing that is known is timed again


def _all_installed(estimates):  # type: ignore[no-untyped-def]
    return lambda *args, **kwargs: estimates(*args, **{**kwargs, "installed": False})


REFUSED = {
    "a Turing GPU": (Problem(1, 4096, 4096, 0.5), gpus.like("T4", 75, 40), "compute capability"),
    "float32": (
        Problem(1, 4096, 4096, 0.5, torch.float32, torch.float32),
        KNOWN[0],
        "takes x of bfloat16 or float16, got torch.float32",
    ),
    "int8 values": (Problem(1, 4096, 4096, 0.5, values=torch.int8), KNOWN[0], "takes values of"),
    "many rows": (Problem(17, 4096, 4096, 0.5), KNOWN[0], "takes 0 to 16 rows of x, got 17"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_was_wanted_and_what_came(case: str) -> None:
    problem, on, words = REFUSED[case]
    pick = picked("semi_frag", problem, on)
    found = {e.candidate.name: e.refusal for e in pick.estimates}
    assert words in str(found["semi_frag_decode"])
    if case != "many rows":
        assert pick.name == "cublas"
        bare = registry.pick("semi_frag", problem, on, NONE, dense=False, installed=False)
        assert bare.name == "reference"


def test_without_a_dense_copy_the_best_sparse_one_runs() -> None:
    problem = Problem(8192, 4096, 4096, 0.5)
    pick = registry.pick("semi_frag", problem, gpu("H100"), NONE, dense=False, installed=False)
    assert pick.candidate is not None
    assert pick.candidate.format == "semi_frag"


def test_what_is_not_installed_here_is_refused_with_the_reason() -> None:
    if torch.version.cuda is not None:
        pytest.skip("this torch has CUDA")
    found = registry.pick("semi_frag", Problem(1, 4096, 4096, 0.5), gpu("H100"), NONE)
    assert found.name == "cublas"
    assert "was built without CUDA" in found.reason


def test_every_candidate_reads_a_format_there_is() -> None:
    for name in CANDIDATES.names():
        candidate = CANDIDATES.get(name)
        assert candidate.name == name
        assert candidate.format == DENSE or candidate.format in FORMATS.names()


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A10G", None),
    ],
)
def test_names_of_the_driver_find_their_row(name: str, known: str | None) -> None:
    found = gpus.known(name)
    assert (None if found is None else found.name) == known


def test_an_unknown_gpu_is_a_guess_and_says_so() -> None:
    guess = gpus.like("NVIDIA A10G", 86, 80)
    assert guess.source == "not in the table: guessed from RTX 3090"
    assert (guess.sms, guess.capability) == (80, 86)
    assert guess.bandwidth == pytest.approx(936 * 80 / 82)
