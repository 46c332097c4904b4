"""nm_linear_decode: 1 to 16 rows of x by a 2:4 weight in fragment order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support import data, judge, truth
from tests.support.cuda import fragment24, structs
from tests.support.cuda.emulator import Emulator, Outcome, poisoned

NAME = "nm_linear_decode"
TYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "i8": torch.int8}
MANY = 108  # multiprocessors: small weights are split as far as they go
COUNTERS = 4096  # bytes at the head of the workspace


@dataclass(frozen=True)
class Layer:
    """A weight and an x for it; the parts that are not wanted are None."""

    x: Tensor
    weight: Tensor
    mask: Tensor
    bias: Tensor | None = None
    residual: Tensor | None = None
    scale: Tensor | None = None
    x_scale: Tensor | None = None
    act: str = "none"

    @property
    def kind(self) -> str:
        return next(name for name, dtype in TYPES.items() if dtype == self.x.dtype)

    @property
    def truth(self) -> truth.Truth:
        x, weight = self.x.double(), self.weight.double()
        x = x if self.x_scale is None else x * self.x_scale[:, None]
        weight = weight if self.scale is None else weight * self.scale[:, None]
        return truth.linear(x, weight, self.mask, self.bias, self.residual, self.act)


def whole(rows: int, out: int, in_: int, kind: str = "f16", seed: int = 0) -> Layer:
    """A layer of whole numbers, with everything that is exact: all but the activations."""
    gen = data.generator(seed)
    mask = data.nm_mask(out, in_, 2, 4, gen)
    y = torch.float32 if kind == "i8" else TYPES[kind]
    return Layer(
        x=data.integers((rows, in_), gen, TYPES[kind]),
        weight=data.integers((out, in_), gen, TYPES[kind]) * mask,
        mask=mask,
        bias=data.integers((out,), gen),
        residual=data.integers((rows, out), gen, y),
        scale=2.0 ** torch.arange(out).remainder(3),
        x_scale=2.0 ** -torch.arange(rows).remainder(2).float(),
    )


def launch(
    emulator: Emulator, layer: Layer, *, split: int = 0, multiprocessors: int = MANY, **how: Any
) -> tuple[Tensor, Outcome]:
    x, out = layer.x, len(layer.weight)
    y = poisoned(len(x), out, dtype=torch.float32 if layer.kind == "i8" else x.dtype)
    return y, launch_into(y, emulator, layer, split, multiprocessors, **how)


def launch_into(
    y: Tensor, emulator: Emulator, layer: Layer, split: int, multiprocessors: int, **how: Any
) -> Outcome:
    x = layer.x
    of_tile = 64 if layer.kind == "i8" else 32
    values, meta = fragment24.pack(layer.weight, of_tile)
    fields = {
        "values": values,
        "meta": meta,
        "x": x,
        "y": y,
        "bias": layer.bias,
        "residual": layer.residual,
        "scale": layer.scale,
        "x_scale": layer.x_scale,
        "rows": len(x),
        "in_features": x.shape[1],
        "out_features": len(layer.weight),
        "padded_in": values.shape[1] * of_tile,
        "padded_out": 32 * len(values),
        "x_stride": x.stride(0),
        "y_stride": y.stride(0),
        "type": structs.enum("Type")[layer.kind],
        "act": structs.enum("Act")[layer.act],
        "split": split,
    }
    with emulator.of_size(multiprocessors):
        return emulator.launch(NAME, fields, **how)


@pytest.mark.parametrize("rows", range(1, 17))
@pytest.mark.parametrize("kind", TYPES)
def test_whole_numbers_are_summed_exactly(emulator: Emulator, kind: str, rows: int) -> None:
    """Sides off the tile, as many multiprocessors as make for other plans, threads in any order."""
    layer = whole(rows, 20 + 7 * rows, 68 + 36 * rows, kind, seed=rows)
    y, outcome = launch(
        emulator, layer, seed=rows, resident=rows % 3 + 1, multiprocessors=(1, 2, 8, 108)[rows % 4]
    )
    outcome.clean()
    judge.exact_truth(y, layer.truth)


@pytest.mark.parametrize("split", [1, 3])
@pytest.mark.parametrize("act", structs.enum("Act"))
@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_reals_stay_within_the_bound(emulator: Emulator, kind: str, act: str, split: int) -> None:
    gen = data.generator(split)
    mask = data.nm_mask(40, 416, 2, 4, gen)
    layer = Layer(
        x=data.reals((5, 416), gen, TYPES[kind]),
        weight=data.reals((40, 416), gen, TYPES[kind]) * mask,
        mask=mask,
        bias=data.reals((40,), gen),
        residual=data.reals((5, 40), gen, TYPES[kind]),
        act=act,
    )
    y, outcome = launch(emulator, layer, split=split)
    outcome.clean()
    judge.within_bound(y, layer.truth)


@pytest.mark.parametrize("multiprocessors", [1, 108])
@pytest.mark.parametrize("split", [1, 2, 5])
def test_a_split_gives_the_same_bits_whoever_is_last(
    emulator: Emulator, split: int, multiprocessors: int
) -> None:
    gen = data.generator(4)
    mask = data.nm_mask(160, 640, 2, 4, gen)
    layer = Layer(
        x=data.reals((3, 640), gen, torch.float16),
        weight=data.reals((160, 640), gen, torch.float16) * mask,
        mask=mask,
    )
    runs = []
    for seed in range(5):
        y, outcome = launch(
            emulator,
            layer,
            split=split,
            seed=seed,
            resident=4 * seed + 1,
            times=2 if seed == 0 else 1,  # what the launch before has left would hide faults
            multiprocessors=multiprocessors,
        )
        outcome.clean()
        if split > 1:
            assert not outcome.tensors["workspace"][:COUNTERS].any(), "not ready for the next"
        runs.append(y)
    judge.within_bound(runs[0], layer.truth)
    for other in runs[1:]:
        judge.exact(other, runs[0])


def test_a_workspace_serves_another_problem_afterwards(emulator: Emulator) -> None:
    """Sums of one problem never lie where another counts."""
    wide = whole(16, 320, 128, seed=5)
    _, outcome = launch(emulator, wide, split=2)
    assert not outcome.tensors["workspace"][:COUNTERS].any()
    assert outcome.tensors["workspace"][COUNTERS:].any()


@pytest.mark.parametrize("rows", [1, 3, 8, 11, 16])
def test_the_weight_is_read_once_by_whole_sectors(emulator: Emulator, rows: int) -> None:
    layer = whole(rows, 256, 1024, seed=rows)
    plain = Layer(layer.x, layer.weight, layer.mask)
    for split, multiprocessors in ((1, 1), (4, 108)):
        _, outcome = launch(
            emulator,
            plain,
            split=split,
            multiprocessors=multiprocessors,
            counted=("values", "meta"),
        )
        outcome.clean()
        for name in ("values", "meta"):
            assert outcome.reads[name].unique().tolist() == [1]
        count, tiles = outcome.counters, 256 // 32 * (1024 // 32)
        assert count["load_sectors"] == count["load_sectors_ideal"]
        assert count["store_sectors"] == count["store_sectors_ideal"]
        assert count["lds_wavefronts"] == count["lds_wavefronts_ideal"]
        assert count["sts_wavefronts"] == count["sts_wavefronts_ideal"]
        row_tiles = -(-rows // 8)
        assert count["mma_sp"] == 2 * tiles * row_tiles
        columns = count["blocks"] // split
        assert outcome.buffers["x"]["read_bytes"] == columns * rows * 1024 * 2


@pytest.mark.parametrize("tiles", [7, *range(13, 18), 31])
def test_a_loop_of_any_length_reads_no_tile_twice(emulator: Emulator, tiles: int) -> None:
    layer = whole(2, 128, 32 * tiles, seed=tiles)
    y, outcome = launch(
        emulator, layer, split=1, multiprocessors=1, counted=("values", "meta"), seed=tiles
    )
    outcome.clean()
    judge.exact_truth(y, layer.truth)
    for name in ("values", "meta"):
        assert outcome.reads[name].unique().tolist() == [1]


def test_a_lane_loads_its_operands_in_one_piece(emulator: Emulator) -> None:
    """Of 1024 weights: two loads of values, one of metadata, one of x from shared memory."""
    layer = whole(1, 128, 2048)
    _, outcome = launch(
        emulator, Layer(layer.x, layer.weight, layer.mask), split=1, multiprocessors=1
    )
    count, tiles = outcome.counters, 128 // 32 * (2048 // 32)
    x_chunks = outcome.buffers["x"]["read_bytes"] // 16
    assert count["ldg"] == 3 * tiles + x_chunks // 32
    parts = 8 // (128 // 32 // count["blocks"])  # warps that share a line of 32 outputs
    assert count["lds"] == tiles + 128 // 32 * parts
    assert count["ldmatrix"] == count["shfl"] == count["ldgsts"] == 0
    main = 3 * tiles + tiles + count["mma_sp"]
    weights = 1024 * tiles / 32  # of a lane
    print(f"{main / weights:.4f} instructions of memory and mma a weight")
    assert main / weights < 0.2


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("in_", "offset", "gap"), [(172, 1, 3), (100, 3, 4), (100, 0, 12), (128, 0, 8), (96, 2, 0)]
)
def test_rows_of_x_may_lie_anywhere(
    emulator: Emulator, kind: str, in_: int, offset: int, gap: int
) -> None:
    layer = whole(9, 33, in_, kind)
    everything = poisoned(9, in_ + gap, dtype=TYPES[kind]).flatten()
    everything = torch.cat([everything, everything[:offset]])
    x = everything.as_strided((9, in_), (in_ + gap, 1), offset)
    x.copy_(layer.x)
    y, outcome = launch(emulator, replace(layer, x=x), multiprocessors=2)
    outcome.clean()
    judge.exact_truth(y, layer.truth)


@pytest.mark.parametrize("split", [1, 2])
def test_rows_of_y_may_lie_apart(emulator: Emulator, split: int) -> None:
    layer = whole(3, 40, 128)
    assert layer.residual is not None
    wide = poisoned(3, 48, dtype=torch.float16)
    residual = wide.clone()[:, :40]
    residual.copy_(layer.residual)
    apart = replace(layer, residual=residual)
    launch_into(wide[:, :40], emulator, apart, split, MANY).clean()
    judge.exact_truth(wide[:, :40].contiguous(), layer.truth)
    assert wide[:, 40:].isnan().all()


def test_columns_may_end_anywhere(emulator: Emulator) -> None:
    for in_ in (1, 3, 31, 33, 63):
        gen = data.generator(in_)
        mask = torch.zeros(32, in_, dtype=torch.bool)
        mask[:, ::2] = True
        layer = Layer(
            x=data.integers((2, in_), gen, torch.float16),
            weight=data.integers((32, in_), gen, torch.float16) * mask,
            mask=mask,
        )
        y, outcome = launch(emulator, layer)
        outcome.clean()
        judge.exact_truth(y, layer.truth)


@pytest.mark.parametrize(("rows", "in_"), [(16, 1024 + 2048 + 96), (7, 2 * 2048 + 32)])
@pytest.mark.parametrize("multiprocessors", [1, 108])
def test_x_may_be_too_large_for_shared_memory(
    emulator: Emulator, rows: int, in_: int, multiprocessors: int
) -> None:
    layer = whole(rows, 40, in_, seed=1)
    y, outcome = launch(emulator, layer, split=1, seed=3, multiprocessors=multiprocessors)
    outcome.clean()
    judge.exact_truth(y, layer.truth)


def test_a_row_that_is_not_finite_stays_alone(emulator: Emulator) -> None:
    layer = whole(3, 32, 64)
    layer.x[1] = float("inf")
    layer.x[2, 5] = float("nan")
    y, outcome = launch(emulator, Layer(layer.x, layer.weight, layer.mask))
    outcome.clean()
    judge.exact_truth(y[:1], truth.linear(layer.x[:1], layer.weight, layer.mask))
    assert not y[1].isfinite().any()
    assert not y[2].isfinite().all()


@pytest.mark.parametrize(("rows", "out", "in_"), [(0, 32, 64), (2, 0, 64), (2, 32, 0)])
def test_nothing_to_sum_is_no_error(emulator: Emulator, rows: int, out: int, in_: int) -> None:
    layer = whole(rows, out, in_)
    if in_ == 0:
        fields = {"rows": rows, "out_features": out, "padded_out": 32, "y_stride": out}
        y = poisoned(rows, out, dtype=torch.float16)
        kind = structs.enum("Type")["f16"]
        emulator.launch(NAME, {**fields, "type": kind, "y": y, "bias": layer.bias}).clean()
        assert layer.bias is not None
        judge.exact(y, layer.bias.half().expand(rows, out))
    else:
        fields = {"rows": rows, "out_features": out, "padded_in": 64, "padded_out": 32 * (out > 0)}
        emulator.launch(NAME, {**fields, "type": structs.enum("Type")["f16"]}).clean()


def test_what_it_cannot_run_it_refuses(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match=r"rows: wanted at most 16"):
        launch(emulator, whole(17, 32, 64))
    with pytest.raises(ValueError, match=r"split: wanted 0 to 32"):
        launch(emulator, whole(1, 32, 64), split=33)
    f32 = {"type": structs.enum("Type")["f32"]}
    for fields, why in (
        (f32, "type: wanted f16"),
        ({"padded_out": 48}, "padded_out: wanted a multiple of 32"),
        ({"padded_in": 48}, "padded_in: wanted a multiple of 32"),
        ({"padded_in": 1 << 30}, "padded_in: wanted below"),
        ({"padded_out": 1 << 36}, "padded_out: wanted below"),
        ({"padded_out": 1 << 20, "padded_in": 64, "split": 2}, "split: wanted 0 or 1"),
    ):
        args = {"type": structs.enum("Type")["f16"], "rows": 1, **fields}
        with pytest.raises(ValueError, match=why):
            emulator.launch(NAME, args)
