"""The loop of nm_linear_decode in machine code: what a weight costs, and how much is under way."""

from __future__ import annotations

import re

import pytest

from tests.support.cuda import build, cubins
from tests.support.cuda.cubins import Instruction

DEPTH = 4  # tiles of a round
WEIGHTS = {"f16": 32, "bf16": 32, "signed char": 64}  # of a tile and a lane, the pruned ones too
ROW_TILES = {"eight_rows": 1, "sixteen_rows": 2}
MOST = 0.6  # instructions a weight; at full speed of memory an H100 has 10 (research §2c)

pytestmark = [pytest.mark.verify, pytest.mark.timeout(1200)]


def is_load(i: Instruction) -> bool:
    return i.opcode.startswith("LDG.E.NA")


def is_mma(i: Instruction) -> bool:
    return re.match(r"[HI]MMA\.SP", i.opcode) is not None


@pytest.fixture(scope="module")
def rounds() -> dict[tuple[int, str], list[Instruction]]:
    """(sm, function) -> the loop without branches that most tiles go through."""
    functions = cubins.code(build.objects()["nm_linear_decode"])
    found = {}
    for key, function in functions.items():
        loops = [loop for loop in cubins.innermost_loops(function) if any(map(is_mma, loop))]
        found[key] = next(loop for loop in loops if sum(i.branch >= 0 for i in loop) == 1)
    return found


def test_a_round_loads_as_many_tiles_as_it_multiplies(
    rounds: dict[tuple[int, str], list[Instruction]],
) -> None:
    for (sm, function), loop in rounds.items():
        name, _, kind = function.removesuffix(">").partition("<")
        wide = sum(is_load(i) and ".128" in i.opcode for i in loop)
        assert wide == 2 * DEPTH, (sm, function)
        assert sum(map(is_load, loop)) == 3 * DEPTH, (sm, function)
        assert sum(map(is_mma, loop)) == 2 * DEPTH * ROW_TILES[name], (sm, function)
        cost = len(loop) / (DEPTH * WEIGHTS[kind])
        print(f"sm_{sm} {function}: {len(loop)} instructions a round, {cost:.3f} a weight")
        assert cost <= MOST, (sm, function)


def test_a_round_waits_once_for_its_tiles(
    rounds: dict[tuple[int, str], list[Instruction]],
) -> None:
    """Were it more often, a tile's loads would wait for those behind it, and few be under way."""
    for key, loop in rounds.items():
        boards = {i.sets for i in loop if is_load(i)}
        waiting = [i for i in loop if any(i.waits >> board & 1 for board in boards)]
        assert len(waiting) == len(boards), (key, waiting)
