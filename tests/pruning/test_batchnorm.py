"""Network slimming: which BatchNorm follows which layer, and what its weight says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur.pruning import prune, verify
from secateur.pruning.criteria import BatchNormScale
from tests.pruning.test_calibration import traces
from tests.pruning.test_prune import assert_same_state, state

X = torch.randn(2, 3, 8, 8)


class Net(nn.Module):
    """BatchNorms registered in another order than they are run in, and one after a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in (6, 4, 6))
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.third, self.head = nn.Conv2d(4, 6, 1), nn.Linear(6, 5)
        for norm in self.norms:
            norm.weight.data = (torch.randperm(len(norm.weight)) - 2.5).float()

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[1](self.first(x)).relu()
        x = self.norms[0](self.second(x)) + self.third(x)
        return self.head(self.norms[2](x).mean((2, 3)))


class Untraceable(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if float(x.detach().sum()) else super().forward(-x)


CONVS = ["first", "second"]
WAYS: dict[str, Any] = {
    "traced": {"criterion": "batchnorm"},
    "watched": {"criterion": "batchnorm", "calibration": [X]},
    "said": {"criterion": BatchNormScale({"first": "norms.1", "second": "norms.0"})},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_channels_go_by_the_scale_behind_them(way: str, scope: str) -> None:
    model = Net()
    scales = torch.cat([model.norms[i].weight.detach().abs() for i in (1, 0)])
    masks = prune(model, 0.5, pattern="channels", scope=scope, targets=CONVS, **WAYS[way])
    kept = torch.cat([masks[f"{name}.weight"].flatten(1).all(1) for name in CONVS])
    some = torch.cat([masks[f"{name}.weight"].flatten(1).any(1) for name in CONVS])
    assert torch.equal(kept, some)
    for part in [slice(0, 4), slice(4, 10)] if scope == "layer" else [slice(0, 10)]:
        assert int(kept[part].sum()) == len(kept[part]) // 2
        assert scales[part][kept[part]].min() >= scales[part][~kept[part]].max()
    verify(model, masks).require()


@pytest.mark.parametrize("way", ["traced", "watched"])
def test_after_a_sum_there_is_no_batchnorm_of_ones_own(way: str) -> None:
    model = Net()
    before, left = state(model), traces(model)
    with pytest.raises(ValueError, match=r"takes the output of 'third' as it is.*ignore=\['third'"):
        prune(model, 0.5, pattern="channels", ignore="head", **WAYS[way])
    assert_same_state(model, before)
    assert traces(model) == left


def test_what_cannot_be_traced_can_be_watched() -> None:
    model = Untraceable()
    words: dict[str, Any] = {"pattern": "channels", "targets": CONVS}
    with pytest.raises(ValueError, match=r"torch.fx cannot trace the model.*calibration=\[x\]"):
        prune(model, 0.5, criterion="batchnorm", **words)
    assert prune(model, 0.5, criterion="batchnorm", calibration=[X], **words).sparsity == 0.5


def test_linear_layers_have_them_too() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    model[1].weight.data = torch.tensor([0.5, -3, 2, -1])
    masks = prune(model, 0.5, criterion="batchnorm", pattern="channels", ignore="3")
    assert masks["0.weight"].all(1).tolist() == [False, True, True, False]


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False))


def wide() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4))


@pytest.mark.parametrize(
    ("make", "criterion", "pattern", "says"),
    [
        (plain, "batchnorm", "channels", r"BatchNorm2d after '0' has no weight \(affine=False\)"),
        (wide, BatchNormScale({"0": "7"}), "channels", "following: the model has no module '7'"),
        (wide, BatchNormScale({"0": "0"}), "channels", r"the Conv2d after '0' has \[4, 3, 3, 3\]"),
        (wide, BatchNormScale({"1": "2"}), "channels", "no BatchNorm takes the output of '0'"),
        (wide, "batchnorm", "unstructured", "says which output channels matter, and pattern 'uns"),
        (wide, "batchnorm", "2:3", "pattern '2:3' removes parts of them; use"),
        (wide, "batchnorm", "columns", "pattern 'columns' removes parts"),
    ],
)
def test_what_says_nothing_is_refused(make: Any, criterion: Any, pattern: str, says: str) -> None:
    model = make()
    before = state(model)
    with pytest.raises(ValueError, match=says):
        prune(model, None if pattern == "2:3" else 0.5, criterion=criterion, pattern=pattern)
    assert_same_state(model, before)
