"""lane_linear_gather: lb32, a predicated load a position."""

from __future__ import annotations

import pytest
import torch

from tests.support import data, judge, truth
from tests.support.cuda import lane_linear as lane
from tests.support.cuda import lanes
from tests.support.cuda.emulator import Emulator

NAME = "lane_linear_gather"


@pytest.mark.parametrize("density", lane.DENSITIES)
def test_whole_numbers_are_summed_exactly(emulator: Emulator, density: float) -> None:
    lane.check_lb32(emulator, NAME, (9, 70, 328), density, "f16", real=False)


@pytest.mark.parametrize("kind", lane.TYPES)
@pytest.mark.parametrize("shape", lane.SHAPES)
def test_sides_on_and_off_the_tile(
    emulator: Emulator, shape: tuple[int, int, int], kind: str
) -> None:
    lane.check_lb32(emulator, NAME, shape, 0.5, kind, real=kind == "bf16")


@pytest.mark.verify
@pytest.mark.parametrize("rows", range(1, 66))
def test_every_number_of_rows(emulator: Emulator, rows: int) -> None:
    for step, density in enumerate(lane.DENSITIES):
        kind = ("f16", "bf16")[(rows + step) % 2]
        lane.check_lb32(emulator, NAME, (rows, 33, 200), density, kind, real=rows % 3 == 0)


@pytest.mark.parametrize("act", judge.ACTIVATIONS)
def test_bias_activation_and_residual(emulator: Emulator, act: str) -> None:
    gen = data.generator(4)
    mask = data.random_mask(24, 256, 0.5, gen)
    weight = data.reals((24, 256), gen, torch.float16)
    lane.check_epilogue(emulator, NAME, lanes.lb32(weight, mask), weight, mask, act)


def test_parts_are_added_in_one_order(emulator: Emulator) -> None:
    gen = data.generator(5)
    mask = data.random_mask(80, 448, 0.3, gen)
    weight = data.reals((80, 448), gen, torch.bfloat16)
    lane.check_parts(emulator, NAME, lanes.lb32(weight, mask), weight, mask)


def test_tiles_may_be_empty_or_full(emulator: Emulator) -> None:
    """A stage has room for the fullest tile there is, and for any where nobody says which."""
    gen = data.generator(7)
    mask = torch.zeros(64, 320, dtype=torch.bool)
    mask[16:32, :128] = True
    mask[48:, 256:] = data.random_mask(16, 64, 0.1, gen)
    weight = data.integers((64, 320), gen, torch.float16)
    x = data.integers((3, 320), gen, torch.float16)
    packed = lanes.lb32(weight, mask)
    assert packed.most == 16 * 64
    for most in (packed.most, 0):
        y, outcome = lane.launch(emulator, NAME, x, packed, 64, most=most, seed=1)
        outcome.clean()
        judge.exact_truth(y, truth.linear(x, weight, mask))


def test_where_x_is_not_finite_no_y_is(emulator: Emulator) -> None:
    """As of a dense product: tensor cores multiply the pruned places too, by zero."""
    gen = data.generator(8)
    mask = data.random_mask(16, 64, 0.5, gen)
    weight = data.integers((16, 64), gen, torch.float16)
    x = data.integers((2, 64), gen, torch.float16)
    x[1, 5] = float("inf")
    y, outcome = lane.launch(emulator, NAME, x, lanes.lb32(weight, mask), 16)
    outcome.clean()
    judge.exact_truth(y[:1], truth.linear(x[:1], weight, mask))
    assert not y[1].isfinite().any()


def test_the_weight_is_read_once(emulator: Emulator) -> None:
    gen = data.generator(9)
    mask = data.random_mask(128, 256, 0.5, gen)
    weight = data.integers((128, 256), gen, torch.float16)
    x = data.integers((64, 256), gen, torch.float16)
    packed = lanes.lb32(weight, mask)
    counted = ("values", "masks", "starts")
    _, outcome = lane.launch(emulator, NAME, x, packed, 128, counted=counted)
    outcome.clean()
    lane.check_reads(outcome)
    # A warp reads where its two steps of two tiles begin and end; where it ends another begins.
    assert outcome.reads["starts"].max() == 2
    assert outcome.reads["starts"].sum() == 8 * (2 + 1) * 4
    assert outcome.counters["mma"] == (128 // 16) * (256 // 16) * (64 // 8)


def test_what_it_cannot_run_it_refuses(emulator: Emulator) -> None:
    packed = lanes.lb32(torch.zeros(16, 64, dtype=torch.float16), torch.zeros(16, 64).bool())
    x = torch.zeros(4, 64, dtype=torch.float16)
    for wrong, words in (({"most": 12}, "most: wanted a multiple of 8"), ({"most": 1032}, "1024")):
        with pytest.raises(ValueError, match=words):
            lane.launch(emulator, NAME, x, packed, 16, **wrong)
    with pytest.raises(ValueError, match="x_stride"):
        lane.launch(emulator, NAME, torch.zeros(4, 60, dtype=torch.float16), packed, 16)
    with pytest.raises(ValueError, match="starts"):
        bare = packed._replace(starts=packed.starts[:0])
        lane.launch(emulator, NAME, x, bare, 16)


def test_no_rows_are_no_work(emulator: Emulator) -> None:
    packed = lanes.lb32(torch.zeros(16, 64, dtype=torch.float16), torch.zeros(16, 64).bool())
    _, outcome = lane.launch(emulator, NAME, torch.zeros(0, 64, dtype=torch.float16), packed, 16)
    outcome.clean()
    assert outcome.counters["blocks"] == 0
