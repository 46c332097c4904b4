"""What expanding a weight costs: instructions by the SASS of sm_80, passes over the banks by count.

A budget at the full bandwidth of an A100 is 10.8 instructions of a lane for each position of a
weight half of which is kept (research behind docs/gpu.md); decoding has to leave room for the rest.
"""

from __future__ import annotations

import re

import pytest
import torch

from tests.support import data
from tests.support.cuda import build, cubins, lane_linear, lanes
from tests.support.cuda.emulator import Emulator

MOST = 6.0  # instructions a weight
POSITIONS = 32  # of a lane, in a tile
TILES = 2  # of a step, unrolled
# Between them stand what multiplies the operands that are ready; it is no part of decoding.
MULTIPLIES = re.compile(r"HMMA|LDSM")
# Passes over the banks of a load, as predicted before they were counted; below 1 where no lane has
# the position. Of a tile with nothing pruned lanes are 64 bytes apart: half of them share a bank.
WAVEFRONTS = {0.05: 1.0, 0.1: 1.35, 0.2: 1.8, 0.3: 2.2, 0.5: 2.9, 1.0: 16.0}


@pytest.mark.verify
@pytest.mark.timeout(1200)
def test_a_weight_of_lb32_takes_six_instructions_at_most() -> None:
    code = cubins.instructions(build.objects()["lane_linear_gather"])
    costs = {}
    for (sm, function), opcodes in code.items():
        loads = [at for at, opcode in enumerate(opcodes) if opcode.startswith("LDS.U16")]
        assert len(loads) == POSITIONS * TILES, f"{function} on sm_{sm}"
        span = opcodes[loads[0] : loads[-1] + 1]
        costs[sm, function] = sum(not MULTIPLIES.match(opcode) for opcode in span) / len(loads)
    print("\n".join(f"sm_{sm} {name}: {cost:.2f}" for (sm, name), cost in sorted(costs.items())))
    over = {key: cost for key, cost in costs.items() if key[0] == 80 and cost > MOST}
    assert not over
    assert {function for sm, function in costs if sm == 80}


@pytest.mark.parametrize("density", WAVEFRONTS)
def test_bank_conflicts_of_lane_addresses(emulator: Emulator, density: float) -> None:
    """Conflicts of the 32 loads of a tile; the mask's and the sums' loads have none."""
    gen = data.generator(11)
    mask = data.random_mask(64, 512, density, gen)
    weight = data.integers((64, 512), gen, torch.float16)
    x = data.integers((4, 512), gen, torch.float16)
    _, outcome = lane_linear.launch(
        emulator, "lane_linear_gather", x, lanes.lb32(weight, mask), 64, split=1
    )
    outcome.clean()
    tiles = 4 * 8
    count = outcome.counters
    others = count["lds"] - tiles * POSITIONS
    each = (count["lds_wavefronts"] - others) / (tiles * POSITIONS)
    print(f"density {density}: {each:.2f} wavefronts a load")
    assert 0 < each <= WAVEFRONTS[density]
