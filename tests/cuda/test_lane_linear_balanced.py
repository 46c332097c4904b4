"""lane_linear_balanced: n32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.support import data, judge, truth
from tests.support.cuda import lane_linear as lane
from tests.support.cuda import lanes
from tests.support.cuda.emulator import Emulator

NAME = "lane_linear_balanced"


def balanced_mask(out: int, in_: int, n: int, gen: torch.Generator) -> Tensor:
    """Return [out, in_] that keeps n of every 32 along a row; edges cut the last."""
    return data.nm_mask(out, -(-in_ // 32) * 32, n, 32, gen)[:, :in_]


def check(emulator: Emulator, shape: tuple[int, int, int], n: int, kind: str, real: bool) -> None:
    rows, out, in_ = shape
    gen = data.generator(rows + n)
    mask = balanced_mask(out, in_, n, gen)
    make = data.reals if real else data.integers
    weight = make((out, in_), gen, lane.TYPES[kind])
    x = make((rows, in_), gen, lane.TYPES[kind])
    bias = make((out,), gen)
    packed = lanes.n32(weight, mask, n)
    y, outcome = lane.launch(
        emulator, NAME, lane.aligned_rows(x), packed, out, bias=bias, seed=rows
    )
    outcome.clean()
    (judge.within_bound if real else judge.exact_truth)(y, truth.linear(x, weight, mask, bias))


@pytest.mark.parametrize("n", [2, 4, 8, 14, 16, 24])
def test_whole_numbers_are_summed_exactly(emulator: Emulator, n: int) -> None:
    check(emulator, (9, 70, 328), n, "f16", real=False)


@pytest.mark.parametrize("kind", lane.TYPES)
@pytest.mark.parametrize("shape", lane.SHAPES)
def test_sides_on_and_off_the_tile(
    emulator: Emulator, shape: tuple[int, int, int], kind: str
) -> None:
    check(emulator, shape, 8, kind, real=kind == "bf16")


@pytest.mark.verify
@pytest.mark.parametrize("rows", range(1, 66))
def test_every_number_of_rows(emulator: Emulator, rows: int) -> None:
    for n in (4, 8, 16):
        kind = ("f16", "bf16")[(rows + n // 4) % 2]
        check(emulator, (rows, 33, 200), n, kind, real=rows % 3 == 0)


@pytest.mark.parametrize("act", judge.ACTIVATIONS)
def test_bias_activation_and_residual(emulator: Emulator, act: str) -> None:
    gen = data.generator(4)
    mask = balanced_mask(24, 256, 8, gen)
    weight = data.reals((24, 256), gen, torch.float16)
    lane.check_epilogue(emulator, NAME, lanes.n32(weight, mask, 8), weight, mask, act)


def test_parts_are_added_in_one_order(emulator: Emulator) -> None:
    gen = data.generator(5)
    mask = balanced_mask(80, 448, 4, gen)
    weight = data.reals((80, 448), gen, torch.bfloat16)
    lane.check_parts(emulator, NAME, lanes.n32(weight, mask, 4), weight, mask)


@pytest.mark.parametrize("n", [4, 16])
def test_the_weight_is_read_once_and_no_banks_conflict(emulator: Emulator, n: int) -> None:
    gen = data.generator(9)
    mask = balanced_mask(128, 256, n, gen)
    weight = data.integers((128, 256), gen, torch.float16)
    x = data.integers((64, 256), gen, torch.float16)
    packed = lanes.n32(weight, mask, n)
    y, outcome = lane.launch(emulator, NAME, x, packed, 128, counted=("values", "masks"))
    outcome.clean()
    judge.exact_truth(y, truth.linear(x, weight, mask))
    lane.check_reads(outcome)
    count = outcome.counters
    assert count["lds_wavefronts"] == count["lds_wavefronts_ideal"]
    assert count["sts_wavefronts"] == count["sts_wavefronts_ideal"]
    assert count["mma"] == (128 // 16) * (256 // 16) * (64 // 8)


def test_what_it_cannot_run_it_refuses(emulator: Emulator) -> None:
    weight = torch.zeros(16, 128, dtype=torch.float16)
    packed = lanes.n32(weight, weight.bool(), 4)
    for n in (0, 3, 26):
        with pytest.raises(ValueError, match="n: wanted an even number"):
            lane.launch(emulator, NAME, weight, packed, 16, n=n)
