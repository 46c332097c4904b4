"""Each rewrite of a graph fires where it should, refuses where it must, and changes no result."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from tests.planning.graphs import ROWS, Free, fused, mlp, refused, sparse, targets
from tests.planning.models import WIDTH, layer, x_of
from tests.support import judge, truth

pytestmark = pytest.mark.unpoisoned  # filling memory is an op that would be traced


# --- activation


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("pattern", ["csr", "nm"])
def test_relu_goes_into_the_layer(pattern: str, inplace: bool) -> None:
    graph = fused(nn.Sequential(sparse(pattern=pattern), nn.ReLU(inplace=inplace)))
    assert targets(graph) == [f"secateur.{pattern}_linear_infer.default"]
    assert graph.secateur_report.counts == {"activation": 1}


@pytest.mark.parametrize(
    ("act", "name"),
    [
        (nn.GELU(), "gelu"),
        (nn.GELU("tanh"), "gelu_tanh"),
        (nn.SiLU(), "silu"),
        (nn.ReLU6(), "relu6"),
    ],
    ids=lambda v: str(v),
)
def test_other_activations_go_into_the_layer(act: nn.Module, name: str) -> None:
    dense, x = layer(), x_of(ROWS, WIDTH) / 8
    model = nn.Sequential(sc.SparseLinear.from_dense(dense), act).eval()
    graph = sc.fuse(model, x, gate="always")
    assert len(targets(graph)) == 1
    wanted = truth.linear(
        x, dense.weight.detach(), dense.weight != 0, dense.bias.detach(), act=name
    )
    judge.within_bound(graph(x), wanted)


def test_an_activation_with_another_user_beside_it_stays() -> None:
    model = Free(lambda x, a: (y := a(x)) * 2 + y.relu(), sparse())
    refused(model, "activation", "2 users")


def test_an_activation_that_the_op_does_not_know_is_no_match() -> None:
    graph = fused(Free(lambda x, a: a(x).abs(), sparse()))
    assert graph.secateur_report.entries == []


def test_a_second_activation_stays() -> None:
    graph = fused(Free(lambda x, a: a(x).relu().relu(), sparse()))
    assert graph.secateur_report.counts == {"activation": 1}
    assert targets(graph)[-1] == "aten.relu.default"


# --- residual


@pytest.mark.parametrize(
    "forward",
    [
        lambda x, a: x + a(x),
        lambda x, a: a(x) + x,
        lambda x, a: a(x).relu() + x,
        lambda x, a: torch.add(x, nn.functional.dropout(a(x), 0.5, False)),
    ],
    ids=["left", "right", "after an activation", "through dropout"],
)
def test_a_residual_goes_into_the_layer(forward: Callable[..., Tensor]) -> None:
    graph = fused(Free(forward, sparse()))
    assert graph.secateur_report.counts["residual"] == 1
    assert targets(graph) == ["secateur.csr_linear_infer.default"]


def test_the_sum_of_two_layers_is_one_residual() -> None:
    graph = fused(Free(lambda x, a, b: a(x) + b(x.abs()), sparse(), sparse()))
    assert graph.secateur_report.counts == {"residual": 1}
    assert not any("add" in target for target in targets(graph))


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda x, a: a(x) + x[:1], "broadcasts"),
        (lambda x, a: a(x) + x[0], "broadcasts"),
        (lambda x, a: a(x) + x[:, :1], "broadcasts"),
        (lambda x, a: a(x) + 3, "no tensor"),
        (lambda x, a: a(x) + x.double(), "dtypes differ"),
        (lambda x, a: torch.add(a(x), x, alpha=2), "alpha=2"),
        (lambda x, a: (y := a(x)) + y, "itself"),
        (lambda x, a: ((y := a(x)) + x) * y, "2 users"),
        (lambda x, a: a(x) + x + x, "^$"),
    ],
)
def test_a_sum_of_another_kind_stays(forward: Callable[..., Tensor], reason: str) -> None:
    if reason == "^$":
        assert targets(fused(Free(forward, sparse())))[-1] == "aten.add.Tensor"
    else:
        refused(Free(forward, sparse()), "residual", reason)


def test_an_op_in_place_between_the_two_keeps_them_apart() -> None:
    def forward(x: Tensor, a: nn.Module) -> Tensor:
        other = x * 1
        y = a(other)
        other.add_(1)
        return y + x

    refused(Free(forward, sparse()), "residual", "in place")


# --- shared input


@pytest.mark.parametrize("pattern", ["csr", "nm"])
def test_layers_with_one_input_become_one(pattern: str) -> None:
    layers = [sparse(out, pattern=pattern) for out in (64, 32, 48)]
    layers[1].bias = None
    model = Free(lambda x, a, b, c: torch.cat([c(x), b(x).abs(), a(x)], -1), *layers)
    graph = fused(model, 4, 5, WIDTH)
    assert graph.secateur_report.counts == {"shared input": 1}
    assert targets(graph).count(f"secateur.{pattern}_linear_infer.default") == 1
    # The weights that were joined are gone from the graph's module.
    assert sorted(graph.state_dict()) == ["fused_0", "fused_1", "fused_2"]


def test_views_of_the_outputs_still_work() -> None:
    def forward(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
        batch = x.shape[0]
        return a(x).view(batch, -1) * b(x).view(batch, 5, 4, 16).transpose(1, 2).flatten(1)

    assert fused(Free(forward, sparse(), sparse()), 4, 5, WIDTH).secateur_report.counts == {
        "shared input": 1
    }


def test_a_view_that_a_slice_does_not_allow_takes_it_back() -> None:
    def forward(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
        return a(x).transpose(0, 1).transpose(0, 1).view(-1) + b(x).view(-1)

    model = Free(forward, sparse(), sparse())
    refused(model, "shared input", "taken back: the graph raised")


def test_layers_of_different_kinds_are_grouped_by_kind() -> None:
    layers = sparse(), sparse(48), sparse(32, pattern="nm"), sparse(16)
    layers[3].keep_dense()

    def forward(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module, d: nn.Module) -> Tensor:
        return torch.cat([a(x), b(x), c(x), d(x)], -1)

    report = fused(Free(forward, *layers)).secateur_report
    assert report.counts == {"shared input": 1}
    reasons = {entry.what: entry.reason for entry in report.entries if not entry.fused}
    assert "no other layer" in reasons["parts.2"]
    assert "dense copy" in reasons["parts.3"]


def test_different_activations_keep_layers_apart() -> None:
    model = Free(lambda x, a, b: a(x).relu() * b(x), sparse(), sparse())
    refused(model, "shared input", "no other layer")


# --- mlp


@pytest.mark.parametrize("pattern", ["csr", "nm"])
def test_two_layers_become_one_call(pattern: str) -> None:
    graph = fused(mlp(pattern))
    assert graph.secateur_report.counts == {"activation": 1, "residual": 1, "mlp": 1}
    assert targets(graph) == [f"secateur.{pattern}_mlp_infer.default"]


def test_two_layers_stay_two_for_few_rows() -> None:
    refused(mlp(), "mlp", "15 rows, below 16", 15, WIDTH)


def test_two_layers_of_two_formats_stay_two() -> None:
    refused(mlp("csr", "nm"), "mlp", "formats differ")


def test_a_hidden_value_that_is_used_elsewhere_keeps_two_layers() -> None:
    forward = lambda x, a, b: b(h := a(x)) + h.sum()  # noqa: E731
    refused(Free(forward, sparse(96), sparse(WIDTH, 96)), "mlp", "2 users")


def test_two_layers_of_float64_stay_two() -> None:
    model = Free(lambda x, a, b: b(a(x.double())), sparse(96), sparse(WIDTH, 96)).double()
    refused(model, "mlp", "float32 only")


def test_a_dense_copy_keeps_two_layers() -> None:
    model = mlp()
    model.parts[0].keep_dense()
    refused(model, "mlp", "dense copy")


def test_a_chain_of_layers_is_taken_in_pairs() -> None:
    model = nn.Sequential(sparse(32), sparse(16, 32), sparse(8, 16))
    for part in model:
        part.values.data.sign_()
    assert fused(model).secateur_report.counts == {"mlp": 1}
