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


def block(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
    return (b(a(x).relu()) + x).relu()


def test_blocks_of_a_stage_share_one_image() -> None:
    def forward(x: Tensor, first: nn.Module, *rest: nn.Module) -> Tensor:
        x = first(x)
        for i in range(0, len(rest), 2):
            x = block(x, *rest[i : i + 2])
        return x

    graph = fused(Free(forward, *[conv() for _ in range(7)]), *SHAPE)
    assert graph.secateur_report.counts["over residual"] == 3
    assert sum(name == "secateur.csr_conv2d_over.default" for name in targets(graph)) == 3


def test_what_is_read_again_is_not_written_over() -> None:
    def forward(x: Tensor, stem: nn.Module, a: nn.Module, b: nn.Module) -> Tensor:
        x = stem(x)
        return block(x, a, b) * x

    refused(Free(forward, *[conv() for _ in range(3)]), "over residual", "may keep", *SHAPE)


def test_what_a_later_layer_reads_is_not_written_over() -> None:
    def forward(x: Tensor, stem: nn.Module, a: nn.Module, b: nn.Module) -> Tensor:
        x = stem(x)
        y = block(x, a, b)
        return y * a(x)

    refused(Free(forward, *[conv() for _ in range(3)]), "over residual", "reads .* later", *SHAPE)


def test_an_input_of_the_model_is_not_written_over() -> None:
    refused(Free(block, conv(), conv()), "over residual", "somebody else's memory", *SHAPE)


def test_a_convolution_is_not_written_over_its_own_input() -> None:
    def forward(x: Tensor, stem: nn.Module, a: nn.Module) -> Tensor:
        x = stem(x)
        return a(x) + x

    refused(Free(forward, conv(), conv()), "over residual", "input too", *SHAPE)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inductor imports it
def test_a_graph_that_writes_over_a_residual_compiles_and_exports() -> None:
    def forward(x: Tensor, stem: nn.Module, a: nn.Module, b: nn.Module) -> Tensor:
        return block(stem(x), a, b)

    model = Free(forward, *[conv() for _ in range(3)]).eval()
    graph, x = fused(model, *SHAPE), data.integers(SHAPE, data.generator(9))
    assert "over residual" in graph.secateur_report.counts
    with torch.no_grad():
        wanted = model(x)
        assert torch.equal(torch.compile(graph, fullgraph=True)(x), wanted)
        assert torch.equal(torch.export.export(graph, (x,)).module()(x), wanted)


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
