"""Converting for a GPU that is not here: the gate by the model of each, on tensors of the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.backends import clock, gpus, registry, verdicts
from secateur.backends.candidates import Candidate, Problem
from secateur.backends.gpus import Gpu
from secateur.nn import dense_layer
from secateur.planning import gpu as planning_gpu
from secateur.planning import record
from secateur.planning.size import Size
from tests.support import data, judge

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


def convolutions(**changes: int) -> nn.Sequential:
    shape = {"in_channels": 64, "out_channels": 128, "kernel_size": 3, "padding": 1, **changes}
    model = nn.Sequential(nn.Conv2d(**shape))
    model[0].weight.data = data.integers(model[0].weight.shape, data.generator()).abs() + 1
    sc.prune(model, pattern="2:4")
    return model.half().eval()


def images(count: int = 2, channels: int = 64) -> torch.Tensor:
    return torch.zeros(count, channels, 28, 28, dtype=torch.float16)


def test_convolutions_win_on_ampere_and_not_on_hopper(on) -> None:  # type: ignore[no-untyped-def]
    on("Ampere")
    fast = sc.convert(convolutions(), images(), gate="model")
    assert isinstance(fast[0], sc.SparseConv2d)
    assert fast[0].format == "semi_frag"
    told = str(sc.explain(fast))
    assert "semi_frag_conv2d at 1568: predicted" in told
    assert "cudnn at 1568: predicted" in told
    on("Hopper")
    slow = sc.convert(convolutions(), images(), gate="model")
    assert isinstance(slow[0], nn.Conv2d)
    assert "sparse is predicted 0." in str(sc.explain(slow))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"in_channels": 12}, "takes channels of a group divisible by 8, got 12"),
        ({"out_channels": 48, "groups": 2}, "rows of two of the 2 groups"),
        (
            {"in_channels": 8, "kernel_size": 17, "padding": 8},
            "takes kernels of at most 15 by 15, got 17 by 17",
        ),
    ],
)
def test_convolutions_that_no_kernel_takes_stay_dense_with_the_reason(  # type: ignore[no-untyped-def]
    on, changes: dict[str, int], why: str
) -> None:
    on("Ampere")
    for gate in ("model", "always"):
        x = images(channels=changes.get("in_channels", 64))
        fast = sc.convert(convolutions(**changes), x, gate=gate)
        assert isinstance(fast[0], nn.Conv2d)
        assert why in str(sc.explain(fast))


def test_an_unstructured_convolution_stays_dense_with_the_reason(on) -> None:  # type: ignore[no-untyped-def]
    on("Ampere")
    model = nn.Sequential(nn.Conv2d(64, 64, 3)).half()
    sc.prune(model, sparsity=0.6)
    told = str(sc.explain(sc.convert(model, images(), gate="model")))
    assert "semi_frag: row 0, columns " in told
    assert " of 4" in told


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_what_is_timed_is_the_layer(on, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:  # type: ignore[no-untyped-def]
    on("Ampere")
    model, found, keep = convolutions(padding_mode=mode), [], registry.measure

    def seconds(function, device: torch.device) -> float:  # type: ignore[no-untyped-def]
        found.append(function())
        return 1e-6

    def measure(format: str, problem: Problem, gpu: Gpu, timer) -> None:  # type: ignore[no-untyped-def]
        # There is no CUDA here for ours; torch's own runs anywhere.
        keep(format, problem, gpu, lambda each: timer(each) if each.name == "cudnn" else 1.0)

    monkeypatch.setattr(clock, "seconds", seconds)
    monkeypatch.setattr(registry, "measure", measure)
    sc.convert(model, images())
    assert [y.shape for y in found] == [(2, 128, 28, 28)]
    layer = dense_layer.read(model[0])
    conv = planning_gpu.convolution(layer.geometry, 64, (2, 28, 28))
    x, padding = planning_gpu._image(conv, layer.weight), 1
    if mode == "circular":  # the layer's own padding is around x by then
        assert x.shape[2:] == (30, 30)
        padding = 0
    wanted = nn.functional.conv2d(x, model[0].weight, model[0].bias, padding=padding)
    judge.exact(found[0], wanted.detach())


def test_explain_asks_for_the_image_that_was_seen(on) -> None:  # type: ignore[no-untyped-def]
    ampere = on("Ampere")
    fast = sc.convert(convolutions(), [images(1), images(2)], gate="model")
    (note,) = sc.explain(fast).layers
    assert (note.rows, note.images) == ([784, 1568], [(1, 28, 28), (2, 28, 28)])
    again = record.Record.from_json(json.loads(json.dumps(fast._secateur_record.to_json())))
    assert again.layers[0] == fast._secateur_record.layers[0]
    asked = planning_gpu.called(fast[0], 1568, (2, 28, 28))
    layer = dense_layer.read(convolutions()[0])
    size = Size(1568, (2, 28, 28))
    judged = planning_gpu.problem(layer, "semi_frag", size, None)
    assert verdicts.key("semi_frag", asked) == verdicts.key("semi_frag", judged)
    assert asked.work == judged.work
    assert registry.pick("semi_frag", asked, ampere).name == "semi_frag_conv2d"
    assert planning_gpu.called(fast[0], 1, None).convolution.image == (1, 64, 3, 3)


def test_times_go_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path))
    assert verdicts.folder() == tmp_path
    monkeypatch.setenv("SECATEUR_CACHE", "")
    assert verdicts.folder() is None
    monkeypatch.delenv("SECATEUR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert verdicts.folder() == tmp_path / "secateur"
