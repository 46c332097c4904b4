"""Batch normalization folded into the convolution before it: what is found, what it computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from secateur.nn import batchnorm, dense_layer
from secateur.nn.dense_layer import DenseLayer
from tests.support import data, judge


class Block(nn.Module):
    """A residual block, and a convolution whose output is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8)
        self.conv3, self.bn3 = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + x
        both = self.conv3(y)
        return self.bn3(both) + both


def block() -> Block:
    """Whole numbers, and variances and scales that are powers of two: every answer is exact."""
    model, gen = Block(), data.generator()
    with torch.no_grad():
        for number, module in enumerate(model.modules()):
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 2.0**-100  # adds nothing, and torch 2.11 wants some
                module.running_mean.copy_(data.integers((8,), gen))
                module.running_var.fill_(4.0 if number % 2 else 0.25)
                module.weight.fill_(-2.0)
                module.bias.copy_(data.integers((8,), gen))
            elif isinstance(module, nn.Conv2d):
                module.weight.copy_(data.integers(module.weight.shape, gen))
                if module.bias is not None:
                    module.bias.copy_(data.integers((8,), gen))
        model.conv1.weight *= data.random_mask(8, 72, 0.3, gen).view(8, 8, 3, 3)
    return model.eval()


def image() -> Tensor:
    return data.integers((2, 8, 6, 6), data.generator(2))


def test_pairs_are_those_with_one_user_and_one_call() -> None:
    model = block()
    assert batchnorm.pairs(model) == {model.conv1: model.bn1, model.conv2: model.bn2}


@pytest.mark.parametrize("name", ["conv1", "conv2"])
def test_more_than_rounding_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, right = block(), batchnorm.folded
    conv, norm = getattr(model, name), getattr(model, name.replace("conv", "bn"))
    layer = dense_layer.read_conv(conv, depthwise=True)
    real = layer._replace(weight=data.reals(layer.weight.shape, data.generator(3), torch.float32))
    for one in (layer, real):
        assert batchnorm.off(one, norm, image()) <= 1

    def wrong(layer: DenseLayer, norm: nn.BatchNorm2d) -> DenseLayer:
        made = right(layer, norm)
        return made._replace(bias=made.bias + 0.01)

    monkeypatch.setattr(batchnorm, "folded", wrong)
    assert batchnorm.off(layer, norm, image()) > 1


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("way", ["always", "model"])
def test_convert_folds_what_stays_dense_too(inplace: bool, way: str) -> None:
    model, x = block(), image()
    wanted = model(x)
    fast = sc.convert(model, x, gate=way, fold_batchnorm=True, inplace=inplace)
    assert [type(getattr(fast, f"bn{i}")).__name__ for i in (1, 2, 3)] == [
        "Identity",
        "Identity",
        "BatchNorm2d",
    ]
    assert isinstance(fast.conv1, sc.SparseConv2d) == (way == "always")
    assert type(fast.conv2) is nn.Conv2d
    judge.exact(fast(x), wanted)
    if not inplace:
        assert isinstance(model.bn1, nn.BatchNorm2d)
        judge.exact(model(x), wanted)


def test_training_mode_and_ignored_layers_are_left() -> None:
    fast = sc.convert(block().train(), image(), gate="always", fold_batchnorm=True)
    assert isinstance(fast.bn1, nn.BatchNorm2d)
    fast = sc.convert(block(), image(), gate="always", fold_batchnorm=True, ignore=["conv1"])
    assert isinstance(fast.bn1, nn.BatchNorm2d)
    assert isinstance(fast.bn2, nn.Identity)


def test_a_model_that_cannot_be_traced_is_an_error() -> None:
    class Branches(Block):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() > 0 else x

    with pytest.raises(ValueError, match="wanted a model whose forward torch"):
        sc.convert(Branches().eval(), image(), gate="always", fold_batchnorm=True)


def test_numbers_that_do_not_fold_are_an_error() -> None:
    model = block()
    with torch.no_grad():
        model.bn1.running_var.fill_(-1.0)
    with pytest.raises(ValueError, match=r"folding into 'conv1' moves its output .*ignore"):
        sc.convert(model, image(), gate="always", fold_batchnorm=True)
