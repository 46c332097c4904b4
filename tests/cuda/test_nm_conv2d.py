"""nm_conv2d: every tile and layout of the 2:4 convolution, against F.conv2d in float64."""

from __future__ import annotations

import pytest
import torch

from tests.support import judge
from tests.support.cuda.convolved import CASES, NAMES, TYPES, Case, Run, expected, launch, tensors
from tests.support.cuda.emulator import Emulator

SMALL = "nm_conv2d_sm80_64x64"

EDGES = ["3x3", "channels off the step", "padding of one side", "two groups"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_whole_numbers_are_summed_exactly(emulator: Emulator, case: Case) -> None:
    given = tensors(case, torch.float16, seed=1)
    y, outcome = launch(emulator, SMALL, case, given, Run(seed=1))
    outcome.clean()
    judge.exact_truth(y, expected(case, given))


@pytest.mark.parametrize("name", [name for name in NAMES if name != SMALL])
@pytest.mark.parametrize("case", [CASES["channels off the step"]])
def test_every_kernel_sums_whole_numbers_exactly(emulator: Emulator, name: str, case: Case) -> None:
    given = tensors(case, torch.bfloat16, seed=2)
    y, outcome = launch(emulator, name, case, given, Run(seed=2))
    outcome.clean()
    judge.exact_truth(y, expected(case, given))


@pytest.mark.verify
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_kernel_and_case(emulator: Emulator, name: str, kind: str, case: Case) -> None:
    if case.split > 1 and "64x64" not in name:
        case = Case(**{**case.__dict__, "split": 1})
    given = tensors(case, TYPES[kind], seed=3)
    y, outcome = launch(emulator, name, case, given, Run(seed=3))
    outcome.clean()
    judge.exact_truth(y, expected(case, given))


@pytest.mark.verify
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", [CASES[word] for word in EDGES], ids=EDGES)
def test_reals_stay_within_the_bound(emulator: Emulator, name: str, kind: str, case: Case) -> None:
    given = tensors(case, TYPES[kind], seed=4, real=True)
    y, outcome = launch(emulator, name, case, given)
    outcome.clean()
    judge.within_bound(y, expected(case, given))


@pytest.mark.parametrize("residual", ["none", "last", "first"])
@pytest.mark.parametrize("act", ["relu", "silu"])
def test_activation_and_residual_are_fused(emulator: Emulator, act: str, residual: str) -> None:
    case = Case((1, 16, 5, 5), 24, act=act, residual=residual)
    given = tensors(case, torch.float16, seed=5, real=True)
    y, outcome = launch(emulator, SMALL, case, given)
    outcome.clean()
    judge.within_bound(y, expected(case, given))


@pytest.mark.parametrize("case", [CASES["3x3"], CASES["groups off the tile"]])
def test_pixels_may_lie_apart(emulator: Emulator, case: Case) -> None:
    case = Case(**{**case.__dict__, "residual": "last"})
    given = tensors(case, torch.float16, seed=6)
    y, outcome = launch(emulator, SMALL, case, given, Run(margin=8))
    outcome.clean()
    judge.exact_truth(y, expected(case, given))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_order_of_threads_and_blocks_races(emulator: Emulator, seed: int) -> None:
    case = Case((1, 64, 9, 9), 64, split=2)
    given = tensors(case, torch.float16, seed=7)
    y, outcome = launch(emulator, SMALL, case, given, Run(seed=seed, resident=4))
    outcome.clean()
    judge.exact_truth(y, expected(case, given))


@pytest.mark.parametrize("channels", [64, 24])
@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_read_tap_by_tap_and_a_weight_once(
    emulator: Emulator, name: str, channels: int
) -> None:
    case = Case((1, channels, 8, 8), 64, split=1)  # 64 pixels of y: one tile, or half of one
    given = tensors(case, torch.float16, seed=8)
    _, outcome = launch(emulator, name, case, given, Run(counted=("x", "values", "meta")))
    outcome.clean()
    for tensor in ("values", "meta"):
        assert outcome.reads[tensor].unique().tolist() == [1]
    # A pixel is read for each tap that sees it: 9 times, at an edge 6 and in a corner 4 times.
    # Where a warp's copies are of several taps, some of them meet in one pixel.
    line = torch.tensor([2] + 6 * [3] + [2], dtype=torch.int32)
    seen = (line[:, None] * line)[:, :, None].expand(8, 8, 2 * channels).reshape(-1)
    reads = outcome.reads["x"]
    assert torch.equal(reads, seen) if channels % 64 == 0 else bool((reads <= seen).all())
    for tensor in ("x", "values", "meta") if channels % 64 == 0 else ("values", "meta"):
        buffer = outcome.buffers[tensor]
        assert buffer["read_bytes"] == 32 * buffer["read_sectors"], tensor
    assert outcome.buffers["y"]["written_bytes"] == 64 * 64 * 2
    count = outcome.counters
    for words in ("ldmatrix_wavefronts", "ldgsts_wavefronts", "lds_wavefronts", "store_sectors"):
        assert count[words] == count[f"{words}_ideal"], words


def test_no_images_are_no_launch(emulator: Emulator) -> None:
    case = Case((0, 64, 5, 5), 32)
    _, outcome = launch(emulator, SMALL, case, tensors(case, torch.float16, seed=9))
    assert outcome.counters["blocks"] == 0


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("in_channels", 60, "in_channels: wanted a multiple of 8"),
        ("groups", 3, "groups: wanted a divisor"),
        ("kernel_width", 16, "wanted at most 15"),
        ("stride_width", 0, "wanted 1 or more"),
        ("pad_top", -1, "wanted none below 0"),
        ("padded_in", 512, "padded_in: wanted kernel_height"),
        ("padded_out", 48, "padded_out: wanted each group's"),
        ("x_stride", 68, "x_stride: wanted in_channels or more, a multiple of 8"),
        ("batch", 2**31, "batch: wanted fewer than 2\\^31 pixels"),
        ("height", 2**21, "wanted at most 2\\^20"),
        ("type", 0, "type: wanted f16 or bf16"),
        ("split", -1, "split: wanted 0 or 1"),
    ],
)
def test_what_it_cannot_run_it_refuses(
    emulator: Emulator, field: str, value: int, why: str
) -> None:
    case = Case((1, 64, 5, 5), 32)
    given = tensors(case, torch.float16, seed=10)
    with pytest.raises(ValueError, match=why):
        launch(emulator, SMALL, case, given, Run(changes={field: value}))
