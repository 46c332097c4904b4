"""Whole models as fused graphs: what is shared with the model, the gate, the report, errors."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from secateur.planning import stopwatch
from secateur.planning.fuse import REWRITES, activation
from tests.planning.graphs import ROWS, fused, mlp, refused, sparse, targets
from tests.planning.models import WIDTH, layer, x_of
from tests.support import judge

pytestmark = pytest.mark.unpoisoned  # filling memory is an op that would be traced


class Block(nn.Module):
    """A transformer block on whole numbers: remainders keep them small."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (layer() for _ in range(4))
        self.fc1, self.fc2 = layer(96), layer(WIDTH, 96)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part(x).remainder(5) for part in (self.q, self.k, self.v))
        x = x + self.o(q + k * v)
        return x + self.fc2(self.fc1(x.remainder(5)).relu().remainder(5))


def test_a_converted_model_of_blocks() -> None:
    blocks = nn.Sequential(Block(), Block())
    model = sc.convert(blocks, x_of(2, ROWS, WIDTH), gate="always")
    graph = fused(model, 2, ROWS, WIDTH)
    assert graph.secateur_report.counts == {"activation": 2, "residual": 4, "shared input": 2}
    names = [e.what for e in graph.secateur_report.entries if e.rewrite == "shared input"]
    assert names == ["0.q + 0.k + 0.v", "1.q + 1.k + 1.v"]


def pruned_and_converted(model: nn.Module, *example: Tensor) -> nn.Module:
    sc.prune(model, sparsity=0.7)
    return sc.convert(model, example, gate="always").eval()


def test_an_encoder_layer_of_torch() -> None:
    """Its projections are one layer already; all else is fused."""
    made = nn.TransformerEncoderLayer(WIDTH, 4, 96, activation="gelu", batch_first=True)
    x = x_of(2, ROWS, WIDTH)
    graph = sc.fuse(pruned_and_converted(made, x), x, gate="always")
    assert graph.secateur_report.counts == {"activation": 1, "residual": 2, "mlp": 1}
    assert graph(x_of(5, ROWS, WIDTH)).shape == (5, ROWS, WIDTH)


def test_a_layer_of_the_demonstration() -> None:
    from secateur.demo.model import Layer

    x, mask = torch.randn(2, 12, 384), torch.ones(2, 1, 12, 12, dtype=torch.bool)
    graph = sc.fuse(pruned_and_converted(Layer(), x, mask), (x, mask), gate="always")
    wanted = {"activation": 1, "residual": 2, "shared input": 1, "mlp": 1}
    assert graph.secateur_report.counts == wanted
    assert all(entry.fused for entry in graph.secateur_report.entries)


def test_the_model_is_left_as_it_was() -> None:
    model = mlp().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    graph = sc.fuse(model, x_of(ROWS, WIDTH), gate="always")
    assert model.training and model.parts[0].training
    assert all(p.requires_grad for p in model.parameters())
    assert not any(p.requires_grad for p in graph.parameters())
    for name, tensor in model.state_dict().items():
        judge.exact(tensor, before[name])


def test_weights_that_are_not_joined_are_shared_with_the_model() -> None:
    model = mlp()
    graph = sc.fuse(model, x_of(ROWS, WIDTH), gate="always")
    ours = {p.data_ptr() for p in model.parameters()}
    assert {p.data_ptr() for p in graph.parameters()} == ours


def test_keyword_arguments() -> None:
    graph = sc.fuse(mlp(), {"x": x_of(ROWS, WIDTH)}, gate="always")
    x = x_of(ROWS + 1, WIDTH)
    judge.exact(graph(x=x), mlp()(x).detach())


# --- the gate and the report


@pytest.mark.parametrize(("times", "fires"), [((1.0, 2.0), False), ((2.0, 1.0), True)])
def test_what_is_slower_is_left(
    monkeypatch: pytest.MonkeyPatch, times: tuple[float, float], fires: bool
) -> None:
    monkeypatch.setattr(stopwatch, "compare", lambda *_, **__: times)
    report = sc.fuse(mlp(), x_of(ROWS, WIDTH)).secateur_report
    assert bool(report.counts) == fires
    for entry in report.entries:
        assert (entry.before_ms, entry.after_ms) == times
        assert fires or "slower" in entry.reason


@pytest.mark.parametrize("faults", [0, 784])
def test_what_makes_the_whole_slower_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, faults: int
) -> None:
    times = iter([(2.0, 1.0), (1.0, 2.0)])
    monkeypatch.setattr(stopwatch, "compare", lambda *_, **__: next(times))
    monkeypatch.setattr(stopwatch, "page_faults", lambda *_: faults)
    if faults:  # then it was the allocator that was timed
        report = sc.fuse(nn.Sequential(sparse(), nn.ReLU()).eval(), x_of(ROWS, WIDTH))
        assert report.secateur_report.counts == {"activation": 1}
        return
    model = nn.Sequential(sparse(), nn.ReLU()).eval()
    graph = sc.fuse(model, x_of(ROWS, WIDTH))
    assert "taken back: the whole graph is slower" in str(graph.secateur_report)
    assert targets(graph)[-1] == "aten.relu.default"
    judge.exact(graph(x_of(7, WIDTH)), model(x_of(7, WIDTH)).detach())


def test_a_measured_fusion_is_right() -> None:
    model, x = mlp(), x_of(ROWS, WIDTH)
    judge.exact(sc.fuse(model, x)(x), model(x).detach())


def test_a_replacement_that_computes_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(activation._NAMES, torch.ops.aten.relu.default, "silu")
    refused(nn.Sequential(sparse(), nn.ReLU()), "activation", "off by .* beyond rounding")


def test_the_report_is_a_table() -> None:
    lines = str(fused(mlp()).secateur_report).splitlines()
    assert re.match(r"activation +parts\.0 \+ relu +fused +gate='always'", lines[1])
    assert "fused: 1 activation, 1 residual, 1 mlp; for any batch size" in lines[-1]


def test_a_batch_of_one_is_said_to_be_fixed() -> None:
    report = sc.fuse(mlp(), x_of(1, WIDTH), gate="always").secateur_report
    assert "the example's batch size alone (it is 1" in str(report)


def test_rewrites_are_found_by_their_files() -> None:
    assert REWRITES.names() == [
        "activation",
        "channels last",
        "max pool",
        "mlp",
        "over residual",
        "residual",
        "residual activation",
        "shared input",
    ]


# --- errors


class Deciding(nn.Module):
    """Looks at its data, which no graph can."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("model", "example", "gate", "error", "message"),
    [
        (3, x_of(2, 2), "always", TypeError, "model: wanted a torch.nn.Module, got int"),
        (nn.ReLU(), x_of(2, 2), "never", ValueError, "gate: wanted 'measured' or 'always'"),
        (nn.ReLU(), [x_of(2, 2)] * 2, "always", ValueError, "one example, got a list of 2"),
        (layer(), x_of(2, 3), "always", ValueError, "example_inputs: wanted inputs the model runs"),
        (Deciding(), x_of(2, 2), "always", ValueError, "model: torch.export cannot capture it"),
    ],
    ids=["model", "gate", "list", "shape", "capture"],
)
def test_errors(
    model: nn.Module, example: object, gate: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sc.fuse(model, example, gate=gate)
