"""Patterns of whole units, in a weight's own shape: who lives together, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from secateur.pruning import Masks, prune, verify
from secateur.pruning.patterns import find_pattern, pool
from secateur.pruning.shape import Shape
from secateur.pruning.targets import select
from tests.pruning.models import Zoo


def integers(layer: nn.Module, name: str = "weight") -> nn.Module:
    """Give every weight another magnitude, in a random order."""
    weight = getattr(layer, name)
    values = 1 + torch.randperm(weight.numel()).reshape(weight.shape).float()
    weight.data = values * torch.randint(0, 2, weight.shape).mul(2).sub(1)
    return layer


def assert_highest(sums: Tensor, kept: Tensor, count: int) -> None:
    """The units kept, as many as asked, are those of the largest sums."""
    assert kept.shape == sums.shape
    assert int(kept.sum()) == count
    assert bool(kept.any())
    assert not bool(kept.all())
    assert sums[kept].min() > sums[~kept].max()


def test_blocks_of_a_linear_layer() -> None:
    layer = integers(nn.Linear(24, 12))
    size = layer.weight.detach().double().abs()
    mask = prune(layer, 0.75, pattern="block:4x3")["weight"]
    blocks = [
        [(slice(4 * i, 4 * i + 4), slice(3 * j, 3 * j + 3)) for j in range(8)] for i in range(3)
    ]
    sums = torch.tensor([[size[at].sum() for at in row] for row in blocks])
    kept = torch.tensor([[bool(mask[at].all()) for at in row] for row in blocks])
    assert all(bool(mask[at].all()) or not bool(mask[at].any()) for row in blocks for at in row)
    assert_highest(sums, kept, 24 - 18)


def test_blocks_compete_in_their_row_of_blocks() -> None:
    mask = prune(nn.Linear(24, 12), 0.5, pattern="block:4x3", scope="row")["weight"]
    assert mask[::4, ::3].sum(1).tolist() == [4, 4, 4]


@pytest.mark.parametrize("name", ["channels", "filters", "rows", "out_channels"])
@pytest.mark.parametrize(
    "layer", [nn.Linear(6, 8), nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 2, groups=2)]
)
def test_output_channels(layer: nn.Module, name: str) -> None:
    integers(layer)
    size = layer.weight.detach().double().abs().flatten(1).sum(1)
    masks = prune(layer, 0.5, pattern=name)
    mask = masks["weight"].flatten(1)
    assert torch.equal(mask.any(1), mask.all(1))
    assert_highest(size, mask.all(1), 4)
    assert masks.origin.pattern == "channels"
    verify(layer, masks, pattern=name).require()


@pytest.mark.parametrize("kernel", [1, 3])
def test_input_channels_of_a_convolution(kernel: int) -> None:
    layer = integers(nn.Conv2d(10, 4, kernel))
    size = layer.weight.detach().double().abs().sum((0, 2, 3))
    mask = prune(layer, 0.4, pattern="in_channels")["weight"]
    assert torch.equal(mask.any(3).any(2).any(0), mask.all(3).all(2).all(0))
    assert_highest(size, mask[0, :, 0, 0], 6)


def test_input_channels_of_groups_are_those_that_the_group_reads() -> None:
    layer = integers(nn.Conv2d(8, 6, 3, groups=2))
    size = layer.weight.detach().double().abs().reshape(2, 3, 4, 9).sum((1, 3))
    mask = prune(layer, 0.5, pattern="in_channels")["weight"].reshape(2, 3, 4, 9)
    assert torch.equal(mask.any(3).any(1), mask.all(3).all(1))
    assert_highest(size, mask[:, 0, :, 0], 4)


def test_columns_of_a_convolution_are_single_taps() -> None:
    layer = integers(nn.Conv2d(5, 4, 3))
    size = layer.weight.detach().double().abs().sum(0)
    mask = prune(layer, 0.4, pattern="columns")["weight"]
    assert torch.equal(mask.any(0), mask.all(0))
    assert_highest(size, mask[0], 27)


def test_columns_and_input_channels_of_a_linear_layer_are_one() -> None:
    layer = integers(nn.Linear(10, 6))
    size = layer.weight.detach().double().abs().sum(0)
    twin = nn.Linear(10, 6)
    twin.load_state_dict(layer.state_dict())
    mask = prune(layer, 0.4, pattern="columns")["weight"]
    assert torch.equal(prune(twin, 0.4, pattern="in_channels")["weight"], mask)
    assert_highest(size, mask[0], 6)


@pytest.mark.parametrize("scope", ["layer", "row"])
def test_kernels(scope: str) -> None:
    layer = integers(nn.Conv2d(6, 4, 3))
    size = layer.weight.detach().double().abs().sum((2, 3))
    mask = prune(layer, 0.5, pattern="kernels", scope=scope)["weight"].flatten(2)
    assert torch.equal(mask.any(2), mask.all(2))
    if scope == "layer":
        assert_highest(size, mask[..., 0], 12)
    else:
        for sums, kept in zip(size, mask[..., 0], strict=True):
            assert_highest(sums, kept, 3)


def test_heads_of_attention_take_q_k_and_v_together() -> None:
    layer = integers(nn.MultiheadAttention(12, 4), "in_proj_weight")
    size = layer.in_proj_weight.detach().double().abs().reshape(3, 4, 3, 12).sum((0, 2, 3))
    masks = prune(layer, 0.5, pattern="heads", targets=[nn.MultiheadAttention])
    mask = masks["in_proj_weight"].reshape(3, 4, 3, 12)
    assert torch.equal(mask.any(3).any(2).any(0), mask.all(3).all(2).all(0))
    assert_highest(size, mask[0, :, 0, 0], 2)


def test_heads_of_apart_projections_are_runs_of_rows() -> None:
    layer = nn.MultiheadAttention(12, 4, kdim=5, vdim=7)
    masks = prune(layer, 0.25, pattern="heads", targets=[nn.MultiheadAttention])
    assert {name: mask.shape[1] for name, mask in masks.items()} == {
        "q_proj_weight": 12, "k_proj_weight": 5, "v_proj_weight": 7,
    }  # fmt: skip
    assert all(int(mask.all(1).sum()) == 9 for mask in masks.values())


def test_heads_of_a_linear_layer_are_as_many_as_the_user_says() -> None:
    mask = prune(nn.Linear(8, 24), 0.5, pattern="heads:6")["weight"]
    assert torch.equal(mask.reshape(6, 32).any(1), mask.reshape(6, 32).all(1))
    stacked = prune(nn.Linear(8, 24), 0.5, pattern="heads:4x3")["weight"].reshape(3, 4, 16)
    assert torch.equal(stacked[0], stacked[1])
    assert int(stacked[0, :, 0].sum()) == 2


def test_units_are_pooled_by_their_mean_or_their_largest() -> None:
    scores = torch.tensor([[1.0, 9.0, 4.0, 4.0]])
    block, shape = find_pattern("block:1x2"), Shape(1, 4)
    assert block.to_units(scores, shape).tolist() == [[5.0, 4.0]]
    assert block.to_units(scores, shape, "max").tolist() == [[9.0, 4.0]]
    with pytest.raises(ValueError, match='"mean" or "max"'):
        pool(scores, (0,), "median")


def test_blocks_of_different_layers_compete_by_their_means() -> None:
    model = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 16, bias=False))
    model[0].weight.data.fill_(2.0)
    model[1].weight.data.fill_(1.0)
    masks = prune(model, 16 / 18, pattern="rows", scope="global")
    assert bool(masks["0.weight"].all())
    assert not bool(masks["1.weight"].any())


def test_a_kept_unit_may_hold_a_zero_and_a_removed_weight_may_not_be_alone() -> None:
    layer = nn.Linear(8, 8)
    masks = prune(layer, 0.5, pattern="block:2x2")
    first = tuple(masks["weight"].nonzero()[0].tolist())
    with torch.no_grad():
        layer.weight[first] = 0.0
    verify(layer, masks).require()
    mask = masks["weight"].clone()
    mask[first] = False
    report = verify(layer, Masks({"weight": mask}, layer), pattern="block:2x2")
    row, column = first
    with pytest.raises(ValueError, match=f"row {row}, column {column} is removed, but its unit"):
        report.require()


def test_a_shape_says_what_rows_and_columns_are() -> None:
    shapes = {key: target.shape for key, target in select(Zoo(), [nn.Module]).items()}
    assert shapes["conv.weight"] == Shape(6, 36, taps=9)
    assert shapes["grouped.weight"] == Shape(4, 16, taps=4, groups=2)
    assert shapes["line.weight"] == Shape(6, 12, taps=3)
    assert shapes["hugging.weight"] == Shape(16, 8)
    assert shapes["attention.in_proj_weight"] == Shape(24, 8, heads=2, stacked=3)
    assert shapes["blocks.0.weight"] == Shape(8, 8)
    for key, target in select(Zoo(), [nn.Module]).items():
        assert target.matrix.shape == (shapes[key].rows, shapes[key].columns)


@pytest.mark.parametrize(
    ("layer", "arguments", "says"),
    [
        (
            nn.Linear(10, 27),
            {"pattern": "block:4x4"},
            r"not 27 by 10; block:1x2 would fit .*ignore=",
        ),
        (
            nn.Linear(10, 27),
            {"pattern": "block:64x5"},
            "larger than the weight, 27 by 10; block:1x5",
        ),
        (nn.Conv2d(3, 8, 3), {"pattern": "block:4x4"}, r"8 by 27 \(9 taps x 3 channels\)"),
        (nn.Conv2d(3, 8, 3), {"pattern": "2:4"}, r"divisible by 4, not 27 \(9 taps x 3 channels\)"),
        (nn.Linear(8, 8), {"pattern": "block"}, "as in \"block:4x1\", not 'block'"),
        (nn.Linear(8, 8), {"pattern": "block:0x4"}, "R rows by C columns"),
        (nn.Linear(8, 8), {"pattern": "block:4"}, "R rows by C columns"),
        (nn.Linear(8, 8), {"pattern": "heads"}, 'cannot know how many heads .* as in "heads:12"'),
        (nn.Linear(8, 8), {"pattern": "heads:3"}, "divisible by 3 heads, not 8"),
        (nn.Linear(8, 8), {"pattern": "heads:2x3"}, "divisible by 2 heads x 3 projections, not 8"),
        (nn.Linear(8, 8), {"pattern": "heads:x"}, "followed by the number of heads"),
        (
            nn.MultiheadAttention(8, 2),
            {"pattern": "heads:4", "targets": "in_proj_weight"},
            'contradicts the module, which has 2; use "heads"',
        ),
        (
            nn.Linear(8, 8),
            {"pattern": "channels", "scope": "row"},
            "not inside one row; use scope=",
        ),
        (nn.Linear(8, 8), {"pattern": "channel"}, "unknown pattern 'channel'; known: .*channels"),
        (nn.Linear(8, 8), {"sparsity": 50}, r"not 50; did you mean 0\.5\?"),
        (nn.Linear(8, 8), {"sparsity": 1.0}, r"every weight\. Did you mean 0\.5"),
        (nn.Linear(8, 8), {"sparsity": -0.1}, r"not -0\.1; did you mean 0\.1\?"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_way_out(
    layer: nn.Module, arguments: dict[str, object], says: str
) -> None:
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    sparsity = None if arguments.get("pattern") == "2:4" else 0.5
    with pytest.raises(ValueError, match=says):
        prune(layer, **{"sparsity": sparsity, **arguments})
    assert all(torch.equal(layer.state_dict()[name], before[name]) for name in before)
