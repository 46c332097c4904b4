"""nm_linear_simple: the plain 2:4 product, on weights that torch's own converter packed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.support import data, judge, truth
from tests.support.cuda import structs, torch24
from tests.support.cuda.emulator import Emulator, Outcome, poisoned

NAME = "nm_linear_simple"
TYPES = {"f16": torch.float16, "bf16": torch.bfloat16}


def launch(
    emulator: Emulator,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    seed: int = 0,
    counted: tuple[str, ...] = (),
) -> tuple[Tensor, Outcome]:
    values, meta = torch24.pack(weight)
    y = poisoned(len(x), len(weight), dtype=x.dtype)
    kind = next(name for name, dtype in TYPES.items() if dtype == x.dtype)
    outcome = emulator.launch(
        NAME,
        {
            "values": values,
            "meta": meta,
            "x": x,
            "y": y,
            "bias": bias,
            "rows": len(x),
            "in_features": x.shape[1],
            "out_features": len(weight),
            "padded_in": 2 * values.shape[1],
            "padded_out": len(values),
            "x_stride": x.stride(0),
            "y_stride": y.stride(0),
            "type": structs.enum("Type")[kind],
            "act": structs.enum("Act")["none"],
        },
        seed=seed,
        counted=counted,
    )
    return y, outcome


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("rows", "out", "in_"), [(1, 64, 64), (7, 70, 96), (65, 128, 192), (130, 33, 320)]
)
def test_whole_numbers_are_summed_exactly(
    emulator: Emulator, kind: str, rows: int, out: int, in_: int
) -> None:
    gen = data.generator(rows)
    mask = data.nm_mask(out, in_, 2, 4, gen)
    weight = data.integers((out, in_), gen, TYPES[kind]) * mask
    x = data.integers((rows, in_), gen, TYPES[kind])
    bias = data.integers((out,), gen)
    y, outcome = launch(emulator, x, weight, bias, seed=rows)
    outcome.clean()
    judge.exact_truth(y, truth.linear(x, weight, mask, bias))


@pytest.mark.parametrize("kind", TYPES)
def test_reals_stay_within_the_bound(emulator: Emulator, kind: str) -> None:
    gen = data.generator(1)
    mask = data.nm_mask(96, 256, 2, 4, gen)
    weight = data.reals((96, 256), gen, TYPES[kind]) * mask
    x = data.reals((70, 256), gen, TYPES[kind])
    y, outcome = launch(emulator, x, weight)
    outcome.clean()
    judge.within_bound(y, truth.linear(x, weight, mask))


def test_rows_of_x_may_lie_apart(emulator: Emulator) -> None:
    gen = data.generator(2)
    mask = data.nm_mask(64, 64, 2, 4, gen)
    weight = data.integers((64, 64), gen, torch.float16) * mask
    x = data.integers((9, 128), gen, torch.float16)[:, 64:]
    y, outcome = launch(emulator, x, weight)
    outcome.clean()
    judge.exact_truth(y, truth.linear(x, weight, mask))


def test_the_weight_is_read_once_a_row_tile_and_no_banks_conflict(emulator: Emulator) -> None:
    gen = data.generator(3)
    weight = data.integers((128, 256), gen, torch.float16) * data.nm_mask(128, 256, 2, 4, gen)
    x = data.integers((128, 256), gen, torch.float16)
    _, outcome = launch(emulator, x, weight, counted=("values", "meta"))
    outcome.clean()
    assert outcome.reads["values"].unique().tolist() == [2]  # two row tiles
    count = outcome.counters
    assert count["ldmatrix_wavefronts"] == count["ldmatrix_wavefronts_ideal"]
    assert count["load_sectors"] == count["load_sectors_ideal"]
    assert count["mma_sp"] == (128 // 16) * (128 // 8) * (256 // 32)


def test_what_it_cannot_run_it_refuses(emulator: Emulator) -> None:
    weight = torch.zeros(64, 64, dtype=torch.float16)
    with pytest.raises(ValueError, match=r"multiples of 8 elements"):
        launch(emulator, torch.zeros(4, 60, dtype=torch.float16), weight)
