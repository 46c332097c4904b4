"""What sc.fuse does with convolutions: whole numbers, so that every answer is equal."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from tests.planning.graphs import Free, fused, refused, targets
from tests.support import data

SHAPE = (4, 8, 6, 6)


def conv(out: int = 8, kernel: int = 3) -> sc.SparseConv2d:
    dense, gen = nn.Conv2d(8, out, kernel, padding=kernel // 2), data.generator(out)
    with torch.no_grad():
        kept = data.random_mask(out, 8 * kernel**2, 0.3, gen).view_as(dense.weight)
        dense.weight.copy_(data.integers(dense.weight.shape, gen) * kept)
        dense.bias.copy_(data.integers((out,), gen))
    return sc.SparseConv2d.from_dense(dense)


def calls(graph: torch.fx.GraphModule) -> list[str]:
    return [name.removeprefix("secateur.csr_conv2d_infer") for name in targets(graph)]


@pytest.mark.parametrize("act", [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.ReLU6(True)])
def test_an_activation_goes_into_the_convolution(act: nn.Module) -> None:
    graph = fused(nn.Sequential(conv(), act), *SHAPE)
    assert calls(graph) == [".default"]


@pytest.mark.parametrize("inplace", [False, True])
def test_the_end_of_a_residual_block_is_one_call(inplace: bool) -> None:
    def forward(x: Tensor, a: nn.Module) -> Tensor:
        y = a(x)
        if inplace:
            y += x
            return y.relu_()
        return (y + x).relu()

    graph = fused(Free(forward, conv()), *SHAPE)
    assert calls(graph) == [".default"]
    assert graph.secateur_report.counts == {"residual": 1, "residual activation": 1}


def test_the_activation_of_a_sum_used_twice_stays() -> None:
    def forward(x: Tensor, a: nn.Module) -> Tensor:
        y = a(x) + x
        return y.relu() * y

    refused(Free(forward, conv()), "residual activation", "2 users", *SHAPE)


def test_a_sum_in_place_on_the_other_side_stays() -> None:
    def forward(x: Tensor, a: nn.Module) -> Tensor:
        y = x * 2
        y += a(x)
        return y

    graph = fused(Free(forward, conv()), *SHAPE)
    assert graph.secateur_report.counts == {}


def test_max_pooling_goes_through_channels_last_and_back() -> None:
    model = nn.Sequential(nn.MaxPool2d(3, 2, 1), conv(), nn.MaxPool2d(2))
    graph = fused(model, *SHAPE)
    assert graph.secateur_report.counts == {"max pool": 2}
    assert calls(graph)[1:3] == ["aten.max_pool2d.default", "aten.clone.default"]


@pytest.mark.parametrize("act", [nn.Identity(), nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6()])
def test_a_dense_convolution_before_a_pooling_writes_channels_last(act: nn.Module) -> None:
    stem, gen = nn.Conv2d(8, 8, 3, 2, 1), data.generator(3)
    with torch.no_grad():
        stem.weight.copy_(data.integers(stem.weight.shape, gen))
        stem.bias.copy_(data.integers((8,), gen))
    graph = fused(nn.Sequential(stem, act, nn.MaxPool2d(2), conv()), *SHAPE)
    assert graph.secateur_report.counts == {"max pool": 1, "channels last": 1}
    names = calls(graph)
    assert names.count("aten.clone.default") == 1, "only the way back is a copy"
    assert names[0] == "aten.conv2d.default"


def test_a_dense_convolution_that_others_read_too_keeps_its_order() -> None:
    def forward(x: Tensor, stem: nn.Module, a: nn.Module) -> Tensor:
        y = stem(x)
        return a(torch.max_pool2d(y, 1)) + y

    stem = nn.Conv2d(8, 8, 1)
    with torch.no_grad():
        stem.weight.copy_(data.integers(stem.weight.shape, data.generator(3)))
        stem.bias.zero_()
    refused(Free(forward, stem, conv()), "channels last", "2 users", *SHAPE)
