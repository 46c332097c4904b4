"""to_dense_n32: the weight written out, bit for bit."""

from __future__ import annotations

import pytest
import torch

from tests.support import data
from tests.support.cuda import lane_linear as lane
from tests.support.cuda import lanes
from tests.support.cuda.emulator import Emulator

NAME = "to_dense_n32"


@pytest.mark.parametrize("n", [2, 4, 8, 16, 30])
@pytest.mark.parametrize(("out", "in_"), [(32, 128), (17, 71), (70, 328)])
def test_it_is_the_weight(emulator: Emulator, out: int, in_: int, n: int) -> None:
    gen = data.generator(out)
    mask = data.nm_mask(out, -(-in_ // 32) * 32, n, 32, gen)[:, :in_]
    weight = data.reals((out, in_), gen, torch.float16)
    weight[0, 0] = float("nan")
    outcome = lane.check_dense(emulator, NAME, lanes.n32(weight, mask, n), weight, mask)
    assert outcome.reads["values"].unique().tolist() in ([], [1])
    assert outcome.reads["masks"].unique().tolist() == [1]


def test_whole_sectors_are_written(emulator: Emulator) -> None:
    gen = data.generator(3)
    mask = data.nm_mask(64, 256, 16, 32, gen)
    weight = data.reals((64, 256), gen, torch.bfloat16)
    outcome = lane.check_dense(emulator, NAME, lanes.n32(weight, mask, 16), weight, mask)
    count = outcome.counters
    assert count["store_sectors"] == count["store_sectors_ideal"] == 64 * 256 * 2 // 32
