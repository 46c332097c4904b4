"""ResNet-50, MobileNetV2 and a U-Net, converted whole: no layer wrong, and none forgotten."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from benchmarks.nets import NETS
from benchmarks.whole import pruned_copy, wrong_layers
from tests.support import data

SIZES = {"resnet50": 64, "mobilenet_v2": 64, "unet": 32}
REASONS = (
    r"it is depthwise, where dense is faster",
    r"sparsity 0\.\d\d is below 0\.3",
)
pytestmark = pytest.mark.unpoisoned  # each of hundreds of results would be filled first


@pytest.fixture(params=list(NETS), scope="module")
def networks(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module, Tensor]:
    """A pruned network, the same converted, and two images."""
    size = SIZES[request.param]
    x = data.reals((2, 3, size, size), data.generator())
    pruned = pruned_copy(NETS[request.param](), 0.9)
    return pruned, sc.convert(pruned, x, gate="always", fold_batchnorm=True), x


def test_every_layer_gives_what_the_masked_dense_one_does(
    networks: tuple[nn.Module, nn.Module, Tensor],
) -> None:
    pruned, fast, x = networks
    assert any(isinstance(part, sc.SparseConv2d) for part in fast.modules())
    assert wrong_layers(fast, pruned, x) == []


def test_every_convolution_is_sparse_or_has_a_reason(
    networks: tuple[nn.Module, nn.Module, Tensor],
) -> None:
    pruned, fast, _ = networks
    told = {note.name: note for note in sc.explain(fast).layers}
    convolutions = {n for n, m in pruned.named_modules() if isinstance(m, nn.Conv2d)}
    assert convolutions <= set(told)
    for name in convolutions:
        sparse = isinstance(fast.get_submodule(name), sc.SparseConv2d)
        assert sparse is told[name].taken
        assert sparse or any(re.search(known, told[name].reason) for known in REASONS), told[name]
    ordinary = [n for n in convolutions if pruned.get_submodule(n).groups == 1]
    left = [n for n in ordinary if not told[n].taken]
    assert len(left) == 1, f"all but the first are 90 % zeros, dense are {left}"


def test_a_wrong_layer_is_found(networks: tuple[nn.Module, nn.Module, Tensor]) -> None:
    pruned, fast, x = networks
    name, layer = next((n, m) for n, m in fast.named_modules() if isinstance(m, sc.SparseConv2d))
    with torch.no_grad():
        layer.values[0] += 1
        try:
            assert wrong_layers(fast, pruned, x) == [name]
        finally:
            layer.values[0] -= 1
