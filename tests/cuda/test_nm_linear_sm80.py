"""nm_linear_sm80*: the tiled 2:4 products, of every tile, layout and type."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.support import data, judge, truth
from tests.support.cuda import tiled
from tests.support.cuda.emulator import Emulator, Outcome, poisoned
from tests.support.cuda.tiled import Call

CASES = [(name, kind) for name in tiled.NAMES for kind in tiled.types_of(name)]
ONCE = [(name, tiled.types_of(name)[0]) for name in tiled.NAMES]
each_type = pytest.mark.parametrize(("name", "kind"), CASES)
each_kernel = pytest.mark.parametrize(("name", "kind"), ONCE)
SPLITTING = [case for case in ONCE if "128x" not in case[0]]
each_that_splits = pytest.mark.parametrize(("name", "kind"), SPLITTING)
HALVES = [case for case in ONCE if case[1] != "i8"]


def weight_of(out: int, in_: int, kind: str, gen: torch.Generator, *, real: bool = False) -> Call:
    """Return a call of no rows: a weight, with columns behind the last whole four pruned."""
    mask = torch.zeros(out, in_, dtype=torch.bool)
    mask[:, : in_ // 4 * 4] = data.nm_mask(out, in_ // 4 * 4, 2, 4, gen)
    make = data.reals if real else data.integers
    dtype = tiled.TYPES[kind]
    return Call(torch.empty(0, in_, dtype=dtype), make((out, in_), gen, dtype) * mask)


def problem(
    shape: tuple[int, int, int], kind: str, gen: torch.Generator, *, real: bool = False
) -> tuple[Call, truth.Truth]:
    """Return a call of (rows, out, in) with a bias, and its answer."""
    rows, out, in_ = shape
    call = weight_of(out, in_, kind, gen, real=real)
    make = data.reals if real else data.integers
    x, bias = make((rows, in_), gen, call.x.dtype), make((out,), gen)
    expected = truth.linear(x, call.weight, call.weight != 0, bias)
    return Call(x, call.weight, bias), expected


def check(
    emulator: Emulator, name: str, kind: str, shape: tuple[int, int, int], split: int = 0
) -> Outcome:
    call, expected = problem(shape, kind, data.generator(sum(shape)))
    y, outcome = tiled.launch(
        emulator, name, Call(call.x, call.weight, call.bias, split=split), seed=1
    )
    outcome.clean()
    judge.exact_truth(y, expected)
    return outcome


@each_type
def test_whole_numbers_are_summed_exactly(emulator: Emulator, name: str, kind: str) -> None:
    check(emulator, name, kind, (37, 104, 336 if kind == "i8" else 208))


@each_kernel
def test_every_edge_of_a_tile(emulator: Emulator, name: str, kind: str) -> None:
    kernel = emulator.kernel(name)
    wide = 16 // tiled.TYPES[kind].itemsize
    for rows in (1, kernel.tile_rows, kernel.tile_rows + 1):
        for out in (1, kernel.tile_out - 32, kernel.tile_out + 1):
            check(emulator, name, kind, (rows, out, kernel.tile_in + wide))


@pytest.mark.parametrize(("name", "kind"), [case for case in ONCE if "64x32" in case[0]])
def test_blocks_go_over_tall_strips_of_y(emulator: Emulator, name: str, kind: str) -> None:
    kernel = emulator.kernel(name)
    for strips in (8, 10):  # one whole strip; one, and a shorter one behind it
        check(emulator, name, kind, (strips * kernel.tile_rows, 3 * kernel.tile_out, 64))


@pytest.mark.verify
@pytest.mark.timeout(3000)
@each_type
def test_1_to_65_rows(emulator: Emulator, name: str, kind: str) -> None:
    for rows in range(1, 66):
        check(emulator, name, kind, (rows, 33 + rows, 32 * (1 + rows % 9)))


@each_kernel
@pytest.mark.parametrize("in_", [1, 7, 66, 129])
def test_what_is_not_16_bytes_wide(emulator: Emulator, name: str, kind: str, in_: int) -> None:
    if name.endswith("_anywhere"):
        check(emulator, name, kind, (5, 35, in_))
    else:
        with pytest.raises(ValueError, match=r"wanted a multiple of 16 bytes.*_anywhere"):
            check(emulator, name, kind, (5, 35, in_))


@each_type
def test_reals_with_all_that_is_fused(emulator: Emulator, name: str, kind: str) -> None:
    gen = data.generator(3)
    for number, act in enumerate(judge.ACTIVATIONS):
        call, _ = problem((19, 72, 256), kind, gen, real=kind != "i8")
        scale, x_scale = data.reals((72,), gen).abs() / 16, data.reals((19,), gen).abs()
        dtype = torch.float32 if kind == "i8" else call.x.dtype
        residual = data.reals((19, 80), gen, dtype)[:, :72]
        fused = Call(call.x, call.weight, call.bias, residual, scale, x_scale, act, y_margin=8)
        y, outcome = tiled.launch(emulator, name, fused, seed=number + 1)
        outcome.clean()
        x, weight = x_scale[:, None].double() * call.x, scale[:, None].double() * call.weight
        expected = truth.linear(x, weight, call.weight != 0, call.bias, residual, act)
        judge.within_bound(y, expected)


@each_kernel
@pytest.mark.parametrize("stride", [44, 48])  # off and on 16 bytes; a row ends off them
def test_y_and_the_residual_may_lie_anywhere(
    emulator: Emulator, name: str, kind: str, stride: int
) -> None:
    gen = data.generator(4)
    call, _ = problem((11, 41, 128), kind, gen)
    dtype = torch.float32 if kind == "i8" else call.x.dtype
    residual = data.integers((11, stride), gen, dtype)[:, :41]
    whole = Call(call.x, call.weight, call.bias, residual, y_margin=stride - 41)
    y, outcome = tiled.launch(emulator, name, whole, seed=2)
    outcome.clean()
    judge.exact_truth(y, truth.linear(call.x, call.weight, call.weight != 0, call.bias, residual))


@each_kernel
def test_rows_of_x_may_lie_apart_and_nan_beside_them_is_not_read(
    emulator: Emulator, name: str, kind: str
) -> None:
    gen = data.generator(5)
    call, expected = problem((9, 40, 128), kind, gen)
    wide = poisoned(9, 192, dtype=call.x.dtype)
    wide[:, 32:160] = call.x
    y, outcome = tiled.launch(emulator, name, Call(wide[:, 32:160], call.weight, call.bias), seed=3)
    outcome.clean()
    judge.exact_truth(y, expected)


@pytest.mark.parametrize(("name", "kind"), [case for case in ONCE if case not in SPLITTING])
def test_a_kernel_without_parts_refuses_them(emulator: Emulator, name: str, kind: str) -> None:
    with pytest.raises(ValueError, match="sums in one part"):
        check(emulator, name, kind, (3, 40, 512), split=2)


@each_that_splits
def test_sums_in_parts_are_the_same_in_any_order_of_blocks(
    emulator: Emulator, name: str, kind: str
) -> None:
    for split in (2, 3, 5):
        check(emulator, name, kind, (3, 70, 768), split)
    call, _ = problem((21, 70, 768), kind, data.generator(6), real=kind != "i8")
    whole = Call(call.x, call.weight, call.bias, split=4)
    first, outcome = tiled.launch(emulator, name, whole)
    for seed in (1, 2, 3):
        again, outcome = tiled.launch(emulator, name, whole, seed=seed, resident=8, times=2)
        outcome.clean()
        judge.exact(again, first)
    counters = outcome.tensors["workspace"].view(torch.int32)[:4096]
    assert not bool(counters.any()), "the workspace is not ready for the next launch"


@each_that_splits
def test_a_workspace_may_serve_one_problem_after_another(
    emulator: Emulator, name: str, kind: str
) -> None:
    shared = torch.zeros(1 << 20, dtype=torch.uint8)
    for shape in ((3, 70, 768), (33, 200, 1280)):
        call, expected = problem(shape, kind, data.generator(7))
        changes: dict[str, Tensor | int] = {"workspace": shared}
        y, outcome = tiled.launch(
            emulator, name, Call(call.x, call.weight, call.bias, split=2, changes=changes)
        )
        outcome.clean()
        judge.exact_truth(y, expected)


@each_type
def test_what_is_read_and_that_no_banks_conflict(emulator: Emulator, name: str, kind: str) -> None:
    kernel = emulator.kernel(name)
    shape = (2 * kernel.tile_rows, 2 * kernel.tile_out, 3 * kernel.tile_in)
    call, expected = problem(shape, kind, data.generator(8))
    y, outcome = tiled.launch(
        emulator,
        name,
        Call(call.x, call.weight, call.bias, split=1),
        counted=("values", "meta", "x"),
    )
    outcome.clean()
    judge.exact_truth(y, expected)
    # Each byte of the weight once a tile of rows, of x once a tile of features.
    assert {field: set(times.tolist()) for field, times in outcome.reads.items()} == {
        "values": {2},
        "meta": {2},
        "x": {2},
    }
    count = outcome.counters
    for space in ("ldmatrix", "lds", "sts", "ldgsts"):
        assert count[f"{space}_wavefronts"] == count[f"{space}_wavefronts_ideal"], space
    assert count["store_sectors"] == count["store_sectors_ideal"]
    of_mma = 32 * 2 // tiled.TYPES[kind].itemsize
    assert count["mma_sp"] == shape[0] // 8 * (shape[1] // 16) * (shape[2] // of_mma)


@each_kernel
def test_there_may_be_no_rows_or_no_columns(emulator: Emulator, name: str, kind: str) -> None:
    check(emulator, name, kind, (0, 40, 64))
    call = weight_of(40, 0, kind, data.generator())
    bias = data.integers((40,), data.generator())
    x = torch.empty(9, 0, dtype=call.x.dtype)
    changes: dict[str, Tensor | int] = {"x_stride": 0}
    y, outcome = tiled.launch(emulator, name, Call(x, call.weight, bias, changes=changes))
    outcome.clean()
    judge.exact(y, bias.expand(9, 40).to(y.dtype))


@pytest.mark.unpoisoned  # of gigabytes, a few rows are touched
@each_kernel
def test_more_than_2_to_the_31_elements(emulator: Emulator, name: str, kind: str) -> None:
    far = 2**31 + 64
    call, expected = problem((2, 40, 128), kind, data.generator(9))
    x = torch.empty(far + 128, dtype=call.x.dtype).as_strided((2, 128), (far, 1))
    x.copy_(call.x)
    y = torch.empty(far + 40, dtype=torch.float32 if kind == "i8" else call.x.dtype)
    y = y.as_strided((2, 40), (far, 1))
    changes: dict[str, Tensor | int] = {"y": y, "y_stride": far}
    _, outcome = tiled.launch(
        emulator, name, Call(x, call.weight, call.bias, changes=changes), seed=4
    )
    outcome.clean()
    judge.exact_truth(y, expected)


@each_kernel
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"padded_out": 48}, "padded_out: wanted out_features rounded up to a multiple of 32"),
        ({"padded_in": 160}, "padded_in: wanted in_features rounded up to a multiple of"),
        ({"padded_in": 0}, "padded_in: wanted in_features rounded up to a multiple of"),
        ({"rows": -1}, "wanted none below 0"),
        ({"act": 6}, "act: wanted one of Act"),
        ({"type": 0}, "type: wanted"),
        ({"split": -1}, "split: wanted 0 to 65535"),
        ({"out_features": 2**40, "padded_out": 2**40, "rows": 2**20}, "2\\^28 tiles"),
        ({"values": 8}, "values: wanted aligned"),
        ({"meta": 8}, "meta: wanted aligned"),
    ],
)
def test_what_it_cannot_run_it_refuses(
    emulator: Emulator, name: str, kind: str, changes: dict[str, Tensor | int], why: str
) -> None:
    call = weight_of(40, 128, kind, data.generator())
    call = Call(torch.zeros(4, 128, dtype=call.x.dtype), call.weight, changes=changes)
    with pytest.raises(ValueError, match=why):
        tiled.launch(emulator, name, call)


@pytest.mark.parametrize(("name", "kind"), HALVES)
def test_what_is_no_number_stays_in_its_row(emulator: Emulator, name: str, kind: str) -> None:
    call, expected = problem((6, 40, 128), kind, data.generator(10))
    x = call.x.clone()
    x[2] = float("nan")
    y, outcome = tiled.launch(emulator, name, Call(x, -call.weight.neg(), call.bias), seed=5)
    outcome.clean()
    assert bool(y[2].isnan().all())
    kept = torch.arange(6) != 2
    judge.exact(y[kept], expected.y.to(y.dtype)[kept])
