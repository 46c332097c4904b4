"""Wanda against the paper's formula and program, and what makes it differ from its copies."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur.pruning import prune
from secateur.pruning.criteria import CRITERIA, Evidence
from tests.pruning.models import Conv1D, mlp


def papers_mask(weight: Tensor, batches: list[Tensor], removed: int) -> Tensor:
    """The authors' program, in float64: a running mean of squares, a stable sort of each row."""
    scaler, seen = torch.zeros(weight.shape[1], dtype=torch.float64), 0
    for x in batches:
        scaler *= seen / (seen + len(x))
        seen += len(x)
        scaler += x.double().square().sum((0, 1)) / seen
    metric = weight.double().abs() * scaler.sqrt()
    lowest = metric.sort(dim=1, stable=True).indices[:, :removed]
    return torch.ones(weight.shape, dtype=torch.bool).scatter_(1, lowest, False)


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.75])
def test_it_makes_the_masks_of_the_authors_program(sparsity: float) -> None:
    layer = nn.Linear(16, 12)
    batches = [torch.randn(n, 5, 16) for n in (3, 1, 4)]
    wanted = papers_mask(layer.weight.detach(), batches, round(16 * sparsity))
    mask = prune(layer, sparsity, criterion="wanda", calibration=batches)["weight"]
    assert torch.equal(mask, wanted)


def test_the_score_is_the_weight_times_the_norm_of_its_input() -> None:
    weight = torch.tensor([[1.0, -2, 3, -4], [4, 3, -2, 0]])
    norms = torch.tensor([[1.0, 2, 0, 5]], dtype=torch.float64)
    found = CRITERIA.get("wanda")().score(weight, Evidence(input_norms=norms))
    assert torch.equal(found, torch.tensor([[1.0, 4, 0, 20], [4, 6, 0, 0]]))


def test_weights_of_one_row_compete_unless_told_otherwise() -> None:
    """Across the layer the small row would lose everything."""
    layer = nn.Linear(4, 2)
    layer.weight.data = torch.tensor([[1.0, 2, 3, 4], [10, 20, 30, 40]])
    x = [torch.ones(3, 4)]
    twin = copy.deepcopy(layer)
    masks = prune(layer, 0.5, criterion="wanda", calibration=x)
    assert masks.origin is not None
    assert masks.origin.scope == "row"
    assert masks["weight"].sum(1).tolist() == [2, 2]
    other = prune(twin, 0.5, criterion="wanda", calibration=x, scope="layer")
    assert other["weight"].sum(1).tolist() == [0, 4]


def test_it_takes_the_norm_and_not_its_square() -> None:
    """2 * 3 against 5 * 1: with squares, 2 * 9 would win."""
    layer = nn.Linear(2, 1)
    layer.weight.data = torch.tensor([[2.0, 7.0]])
    x = torch.tensor([[3.0, 1.0]])
    mask = prune(layer, 0.5, criterion="wanda", calibration=[x])["weight"]
    assert mask.tolist() == [[False, True]]


def test_2_of_4_is_chosen_in_each_group() -> None:
    layer = nn.Linear(8, 3)
    x = torch.randint(1, 5, (6, 8)).float()
    score = layer.weight.detach().abs() * x.square().sum(0).sqrt()
    mask = prune(layer, pattern="2:4", criterion="wanda", calibration=[x])["weight"]
    best = score.reshape(-1, 4).topk(2, dim=1).indices
    wanted = torch.zeros(6, 4, dtype=torch.bool).scatter_(1, best, True).reshape(3, 8)
    assert torch.equal(mask, wanted)


class Grouped(nn.Module):
    """A grouped convolution as the ungrouped ones it stands for."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        parts = conv.weight.detach().chunk(conv.groups)
        self.parts = nn.ModuleList()
        for weight in parts:
            part = nn.Conv2d(weight.shape[1], weight.shape[0], conv.kernel_size, padding=1)
            part.weight.data = weight.clone()
            self.parts.append(part)

    def forward(self, x: Tensor) -> Tensor:
        pairs = zip(self.parts, x.chunk(len(self.parts), 1), strict=True)
        return torch.cat([part(piece) for part, piece in pairs], 1)


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("criterion", ["wanda", "ria"])
def test_a_grouped_convolution_is_pruned_as_its_groups_alone(criterion: str, groups: int) -> None:
    conv = nn.Conv2d(8, 12, 3, padding=1, groups=groups)
    apart = Grouped(conv)
    x = [torch.randint(-3, 4, (2, 8, 5, 6)).float()]
    words: dict[str, Any] = {"criterion": criterion, "calibration": x, "scope": "row"}
    whole, parts = prune(conv, 0.5, **words), prune(apart, 0.5, **words)
    assert torch.equal(whole["weight"], torch.cat(list(parts.values())))


def test_a_hugging_face_weight_is_that_of_a_linear_layer() -> None:
    linear, other = nn.Linear(16, 8), Conv1D(8, 16)
    other.weight.data = linear.weight.detach().T.clone()
    x = [torch.randn(2, 5, 16)]
    ours = prune(linear, 0.5, criterion="wanda", calibration=x)["weight"]
    assert torch.equal(prune(other, 0.5, criterion="wanda", calibration=x)["weight"].T, ours)


def test_packed_attention_weighs_each_projection_by_its_own_inputs() -> None:
    """Query, key and value are large at different features; the rows of each keep those."""
    model = nn.MultiheadAttention(6, 1)
    model.in_proj_weight.data.fill_(1.0)
    inputs = []
    for feature in (0, 2, 4):
        x = torch.ones(3, 1, 6)
        x[..., feature : feature + 2] = 5.0
        inputs.append(x)
    masks = prune(
        model, 2 / 3, criterion="wanda", calibration=[tuple(inputs)], targets="in_proj_weight"
    )
    kept = [mask.nonzero()[:, 1].unique().tolist() for mask in masks["in_proj_weight"].chunk(3)]
    assert kept == [[0, 1], [2, 3], [4, 5]]


def error(layer: nn.Linear, dense: Tensor, x: Tensor) -> float:
    return float(((layer.weight.detach() - dense) @ x.T).square().sum())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("words", [{"sparsity": 0.5}, {"pattern": "2:4"}], ids=str)
def test_with_outlier_columns_it_reconstructs_better_than_magnitude(
    seed: int, words: dict[str, Any]
) -> None:
    """Correlated inputs, every eighth feature 30 times as large, as in language models."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(64, 64, generator=generator) / 8
    x = torch.randn(256, 64, generator=generator) @ (torch.eye(64) + mixed)
    x[:, ::8] *= 30
    layer = nn.Linear(64, 32)
    layer.weight.data = torch.randn(32, 64, generator=generator)
    dense, twin = layer.weight.detach().clone(), copy.deepcopy(layer)
    prune(layer, criterion="wanda", calibration=[x], **words)
    prune(twin, scope="layer", **words)
    assert error(layer, dense, x) < error(twin, dense, x)


def test_half_precision_is_scored_in_single() -> None:
    """In bfloat16 the products 1 * 257 and 1 * 256 are the same."""
    layer = nn.Linear(2, 1).to(torch.bfloat16)
    layer.weight.data.fill_(1.0)
    x = torch.zeros(257, 2, dtype=torch.bfloat16)
    x[:256, 0], x[:, 1] = 16.0, 16.0
    mask = prune(layer, 0.5, criterion="wanda", calibration=[x])["weight"]
    assert mask.tolist() == [[False, True]]


def test_without_inputs_that_differ_it_is_magnitude_by_row() -> None:
    model = mlp(16, 8)
    twin = copy.deepcopy(model)
    masks = prune(model, 0.5, criterion="wanda", calibration=[torch.ones(4, 16)])
    assert masks == prune(twin, 0.5, scope="row")
