"""Converting for a GPU that is not here: the gate by the model of each, on tensors of the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.backends import clock, gpus, registry, verdicts
from secateur.backends.candidates import Candidate
from secateur.backends.gpus import Gpu
from secateur.planning import gpu as planning_gpu
from secateur.planning import record
from tests.support import data

# Slices of GPUs, for which a layer of a test is as large as one of a language model for the whole.
SMALL = {"Hopper": gpus.like("a small Hopper", 90, 8), "Ampere": gpus.like("a small Ampere", 80, 7)}


def network(pattern: str | None, dtype: torch.dtype = torch.float16) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(1024, 1024, bias=False), nn.Linear(1024, 8, bias=False))
    for layer in model:
        layer.weight.data = data.integers(layer.weight.shape, data.generator()).abs() + 1
    sc.prune(model, pattern=pattern) if pattern else sc.prune(model, sparsity=0.7)
    return model.to(dtype)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> object:
    """Pretend that weights lie on a GPU, and that every library is there."""
    ask = registry.estimates

    def pretend(name: str) -> Gpu:
        found = SMALL[name]
        monkeypatch.setattr(planning_gpu, "of", lambda layer: found)
        return found

    monkeypatch.setattr(registry, "estimates", lambda *a, **k: ask(*a, **{**k, "installed": False}))
    monkeypatch.setattr(verdicts, "VERDICTS", verdicts.Verdicts())
    return pretend


def test_the_model_takes_what_is_faster_and_leaves_the_rest(on) -> None:  # type: ignore[no-untyped-def]
    on("Hopper")
    fast = sc.convert(network("2:4"), rows=(1, 1024), gate="model")
    assert isinstance(fast[0], sc.SparseLinear)
    assert fast[0].format == "semi_frag"
    assert fast[0].dense is not None  # for 1024 rows, where Hopper's dense product wins
    assert isinstance(fast[1], nn.Linear)  # too small to win anywhere
    told = str(sc.explain(fast))
    assert "semi_frag_decode at 1: predicted" in told
    assert "cublas at 1024: predicted" in told
    assert "semi_frag_decode at 1024: takes 0 to 16 rows of x, got 1024" in told
    assert "Times marked ~ are predicted" in told


def test_many_rows_win_on_ampere(on) -> None:  # type: ignore[no-untyped-def]
    on("Ampere")
    assert isinstance(sc.convert(network("2:4"), rows=(1024,), gate="model")[0], sc.SparseLinear)


@pytest.mark.parametrize(("pattern", "format"), [("8:32", "n32"), (None, "lb32")])
def test_each_pattern_gets_its_format(on, pattern: str | None, format: str) -> None:  # type: ignore[no-untyped-def]
    on("Ampere")
    fast = sc.convert(network(pattern), rows=(1,), gate="model")
    assert isinstance(fast[0], sc.SparseLinear)
    assert fast[0].format == format


def test_float32_stays_dense_with_the_reason(on) -> None:  # type: ignore[no-untyped-def]
    on("Hopper")
    model = sc.convert(network("2:4", torch.float32), rows=(1,), gate="model")
    assert isinstance(model[0], nn.Linear)
    told = str(sc.explain(model))
    assert "no sparse kernel on a small Hopper runs it" in told
    assert "takes x of bfloat16 or float16, got torch.float32" in told


def test_measured_and_predicted_stand_side_by_side(on, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    on("Hopper")
    times = {"cublas": 20e-6, "semi_frag_decode": 10e-6}
    asked: list[str] = []

    def measure(format: str, problem: object, gpu: object, timer: object) -> None:
        def known(candidate: Candidate) -> float:
            asked.append(candidate.name)
            return times.get(candidate.name, 1.0)

        _measure(format, problem, gpu, known)

    _measure = registry.measure
    monkeypatch.setattr(registry, "measure", measure)
    monkeypatch.setattr(clock, "seconds", None)  # there is nothing to time here
    fast = sc.convert(network("2:4"), rows=(1,))
    assert set(times) <= set(asked)
    told = str(sc.explain(fast))
    assert "semi_frag_decode at 1: measured 10.0 us, predicted " in told
    assert "~" not in told.splitlines()[2]
    again = record.Record.from_json(json.loads(json.dumps(fast._secateur_record.to_json())))
    assert again.layers[0].candidates == fast._secateur_record.layers[0].candidates


def test_convolutions_stay_dense_with_the_reason(on) -> None:  # type: ignore[no-untyped-def]
    on("Hopper")
    model = nn.Sequential(nn.Conv2d(64, 64, 3)).half()
    sc.prune(model, pattern="2:4")
    fast = sc.convert(model, torch.zeros(1, 64, 8, 8).half(), gate="model")
    assert isinstance(fast[0], nn.Conv2d)
    assert "there are no sparse convolutions on GPUs yet" in str(sc.explain(fast))


def test_times_go_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path))
    assert verdicts.folder() == tmp_path
    monkeypatch.setenv("SECATEUR_CACHE", "")
    assert verdicts.folder() is None
    monkeypatch.delenv("SECATEUR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert verdicts.folder() == tmp_path / "secateur"
