"""lane_linear_scatter: lb32 through a dense tile in shared memory."""

from __future__ import annotations

import pytest
import torch

from tests.support import data, judge, truth
from tests.support.cuda import lane_linear as lane
from tests.support.cuda import lanes
from tests.support.cuda.emulator import Emulator

NAME = "lane_linear_scatter"


@pytest.mark.parametrize("density", lane.DENSITIES)
def test_whole_numbers_are_summed_exactly(emulator: Emulator, density: float) -> None:
    lane.check_lb32(emulator, NAME, (9, 70, 328), density, "bf16", real=False)


@pytest.mark.parametrize("kind", lane.TYPES)
@pytest.mark.parametrize("shape", lane.SHAPES)
def test_sides_on_and_off_the_tile(
    emulator: Emulator, shape: tuple[int, int, int], kind: str
) -> None:
    lane.check_lb32(emulator, NAME, shape, 0.15, kind, real=kind == "f16")


@pytest.mark.verify
@pytest.mark.parametrize("rows", range(1, 66))
def test_every_number_of_rows(emulator: Emulator, rows: int) -> None:
    for step, density in enumerate(lane.DENSITIES):
        kind = ("f16", "bf16")[(rows + step) % 2]
        lane.check_lb32(emulator, NAME, (rows, 33, 200), density, kind, real=rows % 3 == 0)


@pytest.mark.parametrize("act", judge.ACTIVATIONS)
def test_bias_activation_and_residual(emulator: Emulator, act: str) -> None:
    gen = data.generator(4)
    mask = data.random_mask(24, 256, 0.1, gen)
    weight = data.reals((24, 256), gen, torch.bfloat16)
    lane.check_epilogue(emulator, NAME, lanes.lb32(weight, mask), weight, mask, act)


def test_parts_are_added_in_one_order(emulator: Emulator) -> None:
    gen = data.generator(5)
    mask = data.random_mask(80, 448, 0.1, gen)
    weight = data.reals((80, 448), gen, torch.float16)
    lane.check_parts(emulator, NAME, lanes.lb32(weight, mask), weight, mask)


def test_work_follows_what_is_kept_and_stores_do_not_conflict(emulator: Emulator) -> None:
    gen = data.generator(9)
    stores = {}
    for density in (0.05, 0.2):
        mask = data.random_mask(64, 256, density, gen)
        weight = data.integers((64, 256), gen, torch.float16)
        x = data.integers((7, 256), gen, torch.float16)
        packed = lanes.lb32(weight, mask)
        y, outcome = lane.launch(emulator, NAME, x, packed, 64, seed=2, counted=("values", "masks"))
        outcome.clean()
        judge.exact_truth(y, truth.linear(x, weight, mask))
        lane.check_reads(outcome)
        count = outcome.counters
        assert count["sts_wavefronts"] == count["sts_wavefronts_ideal"]
        stores[density] = count["sts"]
    # Clearing takes 4 stores a tile, the sums' way out 4 a warp; the rest is for the fullest lane.
    tiles, warps = 4 * 4, 4
    fullest = {d: (count - 4 * tiles - 4 * warps) / tiles for d, count in stores.items()}
    assert fullest[0.05] < 7, fullest
    assert 10 < fullest[0.2] < 15, fullest
