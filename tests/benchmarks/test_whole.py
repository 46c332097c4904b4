"""Whole networks: what is counted, where the time goes, what is kept. No speed is judged here."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import secateur as sc
from benchmarks import nets, whole
from benchmarks.timing import Samples
from benchmarks.waterfall import KINDS, graph_of, kind_of, rows, waterfall


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nets.Bottleneck(8, 4, 1),
        nn.Conv2d(16, 16, 3, 1, 1, groups=16),
        nn.ConvTranspose2d(16, 8, 2, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()


def test_every_op_of_a_network_has_a_kind() -> None:
    x = torch.randn(1, 3, 32, 32)
    found = waterfall(small(), x, rounds=2)
    assert set(found) >= set(KINDS) - {"other"}
    assert all(ms > 0 for ms in found.values())


def test_a_sparse_network_is_counted_by_the_same_kinds() -> None:
    model, x = small(), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.Conv2d):
                part.weight[:, ::2] = 0
    fast = sc.convert(model, x, gate="always", fold_batchnorm=True)
    graph = graph_of(fast, x)
    kinds: dict[str, str] = {}
    for node in graph.graph.nodes:
        if "secateur" in str(node.target):
            kinds[str(node.kwargs["kernel_size"])] = kind_of(node.target, (), node.kwargs)
    assert kinds["[7, 7]"] == "other conv"
    assert (kinds["[1, 1]"], kinds["[3, 3]"]) == ("1x1", "3x3")
    assert "norm" not in waterfall(fast, x, rounds=1)


def test_a_waterfall_has_a_column_for_each_kind_and_the_sum() -> None:
    table = rows({"dense": {"3x3": 1.5, "norm": 0.5}, "sparse": {"3x3": 0.5}})
    assert table == [
        ["ms by kind of op", "3x3", "norm", "sum"],
        ["dense", "1.5", "0.5", "2"],
        ["sparse", "0.5", "-", "0.5"],
    ]


def made(name: str, images: int, sparsity: float, speedup: float) -> whole.Whole:
    dense = {"torch": Samples((0.2,) * 3), "ort": Samples((0.1,) * 3)}
    return whole.Whole(Samples((0.1 / speedup,) * 3), dense, name, images, sparsity, 50, 53)


def test_networks_are_compared_with_what_is_asked_of_their_batch() -> None:
    one, many = made("resnet50", 1, 0.9, 4.0), made("resnet50", 16, 0.9, 2.0)
    free = made("unet", 1, 0.9, 2.0)
    assert (one.asked, many.asked, free.asked) == (3.2, 3.0, None)
    heading, *lines = whole.target_lines([one, many, free])
    assert heading.split() == ["asked/got", "90%"]
    assert lines[0].endswith("3.2/4.00")
    assert lines[1].endswith("3/2.00 miss")
    assert lines[2].endswith("gate sparse/2.00")
    text = whole.lines([one, many])
    assert "50 of 53" in text[1]
    assert "*100" in text[1]
    assert text[2].endswith("miss")


def test_a_kept_row_says_what_ran() -> None:
    row = made("resnet50", 16, 0.9, 2.0).row({"commit": "abc"})
    assert next(iter(row)) == "commit"
    assert (row["network"], row["images"], row["sparsity"]) == ("resnet50", "16", "0.9")
    assert (row["sparse_convolutions"], row["convolutions"]) == ("50", "53")
    assert float(row["speedup"]) == pytest.approx(2)
    assert row["torch_nhwc_s"] == ""


def test_the_batches_of_a_full_run_are_those_of_the_targets() -> None:
    asked = {name: tuple(n for m, n in whole.ASKED if m == name) for name, _ in whole.ASKED}
    assert asked == whole.IMAGES
