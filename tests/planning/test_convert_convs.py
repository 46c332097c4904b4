"""Convolutions through sc.convert, explain, plan, save and load: as linear layers go."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from secateur.planning import gate, observe
from secateur.planning.size import Size
from tests.support import data, judge


def cnn() -> nn.Sequential:
    """Convolutions of many kinds on integers, pruned to 80 %."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding="same", dilation=2, groups=2, bias=False),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 32, 1),
        nn.Conv2d(32, 8, (1, 4), padding="same", padding_mode="circular"),
        nn.Flatten(),
        nn.Linear(8 * 64, 5),
    ).eval()
    gen = data.generator(3)
    with torch.no_grad():
        for module in model:
            if isinstance(module, nn.Conv2d | nn.Linear):
                kept = data.random_mask(*module.weight.flatten(1).shape, 0.2, gen)
                weight = data.integers(kept.shape, gen).clamp(-1, 1) * kept
                module.weight.copy_(weight.view_as(module.weight))
                if module.bias is not None:
                    module.bias.copy_(data.integers(module.bias.shape, gen))
    return model


def images(count: int = 2) -> Tensor:
    return data.integers((count, 3, 16, 16), data.generator(4)).clamp(-1, 1)


@pytest.mark.parametrize("way", ["always", "model", "measured"])
def test_answers_stay(way: str) -> None:
    model = cnn()
    fast = sc.convert(model, images(), gate=way)
    judge.exact(fast(images()), model(images()))
    judge.exact(sc.to_dense(fast)(images()), model(images()))


def test_every_convolution_is_accounted_for() -> None:
    fast = sc.convert(cnn(), images(), gate="always")
    told = {note.name: (note.taken, note.kind) for note in sc.explain(fast).layers}
    assert told == {
        "0": (True, "Conv2d"),
        "2": (True, "Conv2d"),
        "3": (False, "Conv2d"),
        "4": (True, "Conv2d"),
        "5": (True, "Conv2d"),
        "7": (True, "Linear"),
    }
    depthwise = sc.explain(fast).layers[2]
    assert depthwise.reason == "it is depthwise, where dense is faster"
    assert [type(m).__name__ for m in fast].count("SparseConv2d") == 4


def test_a_convolution_is_judged_by_the_images_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[Size] = []

    def measure(layer: object, packed: object, size: Size, **_: object) -> gate.Timing:
        sizes.append(size)
        return gate.Timing(size.rows, 2.0, 1.0, of="pixel")

    monkeypatch.setattr(gate, "measure", measure)
    model = nn.Sequential(cnn()[0])
    fast = sc.convert(model, [images(1), images(2)], rows=[7])
    assert sizes == [Size(64, (1, 16, 16)), Size(128, (2, 16, 16))]
    assert "sparse is 2.00x at 64 pixels, 2.00x at 128 pixels" in str(sc.explain(fast))
    assert [row.op for row in sc.explain(fast).rows] == ["csr_conv2d", "csr_conv2d"]


def test_an_image_without_a_batch_is_one_image() -> None:
    conv = cnn()[0]
    seen = observe.observe(conv, images(1)[0], [conv])
    assert seen[conv].images == {Size(64, (1, 16, 16))}


def test_rows_alone_judge_no_convolution() -> None:
    fast = sc.convert(nn.Sequential(cnn()[4]), rows=[64])
    (note,) = sc.explain(fast).layers
    assert (note.taken, note.reason) == (False, "example_inputs never call it")


def test_a_convolution_that_loses_keeps_a_dense_copy_for_that_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measure(layer: object, packed: object, size: Size, **_: object) -> gate.Timing:
        return gate.Timing(size.rows, 3.0 if size.rows >= 128 else 0.5, 1.0, of="pixel")

    monkeypatch.setattr(gate, "measure", measure)
    model = nn.Sequential(cnn()[0])
    fast = sc.convert(model, [images(1), images(2)])
    assert fast[0].dense is not None
    for count in (1, 2, 3):
        judge.exact(fast(images(count)), model(images(count)))


def test_a_file_holds_convolutions(tmp_path: Path) -> None:
    model = cnn()
    fast = sc.convert(model, images(), gate="always")
    sc.save(fast, tmp_path / "cnn.safetensors")
    for skeleton in (cnn(), fast):
        again = sc.load(skeleton, tmp_path / "cnn.safetensors")
        assert [type(m) for m in again] == [type(m) for m in fast]
        judge.exact(again(images()), model(images()))


def test_a_file_of_a_convolution_does_not_fit_a_linear_layer(tmp_path: Path) -> None:
    fast = sc.convert(nn.Sequential(cnn()[4]), gate="always")
    sc.save(fast, tmp_path / "conv.safetensors")
    with pytest.raises(ValueError, match="'0' is a sparse convolution in the file and Linear"):
        sc.load(nn.Sequential(nn.Linear(16, 32)), tmp_path / "conv.safetensors")


def test_a_plan_tells_of_convolutions() -> None:
    planned = sc.plan(cnn(), 0.9, rows=[4096])
    assert {layer.name for layer in planned.layers if layer.sparse} >= {"0", "2"}
    assert all(t.of == "pixel" for layer in planned.layers[:2] for t in layer.timings)


@pytest.mark.parametrize("taps", ["all", "some"])
def test_removed_channels_run_as_a_smaller_convolution(taps: str) -> None:
    conv, gen = nn.Conv2d(12, 10, 3, stride=2, padding=1), data.generator(6)
    with torch.no_grad():
        conv.weight.copy_(data.integers(conv.weight.shape, gen).abs() + 1)
        conv.weight[::2] = 0
        conv.weight[:, 1::3] = 0
        if taps == "some":
            conv.weight[:, :, 0] = 0
        conv.bias.copy_(data.integers((10,), gen))
    model, x = nn.Sequential(conv).eval(), data.integers((2, 12, 9, 9), gen)
    fast = sc.convert(model, x, gate="always")
    assert fast[0].format == "rows"
    assert fast[0].values.numel() < conv.weight.numel() / 2
    judge.exact(fast(x), model(x))
    (row,) = sc.explain(fast).rows
    assert (row.op, row.kernel) == ("rows_conv2d", "torch")


def test_removed_channels_of_a_grouped_convolution_are_zeros_like_others() -> None:
    conv = nn.Conv2d(8, 8, 3, groups=2)
    with torch.no_grad():
        conv.weight[::2] = 0
    x = data.integers((1, 8, 5, 5), data.generator())
    fast = sc.convert(nn.Sequential(conv).eval(), x, gate="always")
    assert fast[0].format == "bsr"  # of rows of four columns


@pytest.mark.parametrize(("r", "groups"), [(4, 1), (16, 1), (8, 2)])
def test_blocks_of_outputs_go_the_whole_way(r: int, groups: int, tmp_path: Path) -> None:
    conv, gen = nn.Conv2d(8, 32, 3, padding=1, groups=groups), data.generator(7)
    kept = data.block_mask(32, 72 // groups, r, 1, gen).view(32, 3, 3, -1).movedim(-1, 1)
    with torch.no_grad():
        conv.weight.copy_((data.integers(kept.shape, gen).abs() + 1) * kept)
        conv.bias.copy_(data.integers((32,), gen))
    model, x = nn.Sequential(conv).eval(), data.integers((2, 8, 9, 9), gen)
    fast = sc.convert(model, x, gate="always")
    judge.exact(fast(x), model(x))
    (row,) = sc.explain(fast).rows
    assert row.op == "bsr_conv2d"
    sc.save(fast, tmp_path / "blocks.safetensors")
    again = sc.load(model, tmp_path / "blocks.safetensors")
    assert again[0].format == "bsr"
    judge.exact(again(x), model(x))
    measured = sc.convert(model, x)
    judge.exact(measured(x), model(x))
    assert "bsr" in str(sc.explain(measured))
