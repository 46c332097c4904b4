"""Runs the kernels that read lb32 and n32; what their tests share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.support import data, judge, truth
from tests.support.cuda import lanes, structs
from tests.support.cuda.emulator import Emulator, Outcome, poisoned
from tests.support.cuda.lanes import Lanes

TYPES = {"f16": torch.float16, "bf16": torch.bfloat16}
DENSITIES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
# Rows of x, of the weight and columns: on and off every tile.
SHAPES = [(1, 64, 64), (8, 16, 128), (9, 70, 328), (17, 33, 71), (64, 128, 192), (65, 48, 136)]


def launch(
    emulator: Emulator, name: str, x: Tensor, packed: Lanes, out_features: int, **given: Any
) -> tuple[Tensor, Outcome]:
    """Return y [rows, out_features], and what was found.

    Args:
        emulator: where it runs.
        name: of the kernel.
        x: [rows, in_features].
        packed: the weight.
        out_features: of the weight.
        given: other fields of the contract, `act` as a word; and `seed`, `counted`, `times` of
            the launch.
    """
    y = poisoned(len(x), out_features, dtype=x.dtype)
    kind = next(word for word, dtype in TYPES.items() if dtype == x.dtype)
    how = {key: given.pop(key) for key in ("seed", "counted", "times") if key in given}
    fields = {
        "values": packed.values,
        "masks": packed.masks,
        "starts": packed.starts if len(packed.starts) else None,
        "x": x,
        "y": y,
        "rows": len(x),
        "in_features": x.shape[1],
        "out_features": out_features,
        "x_stride": x.stride(0),
        "y_stride": out_features,
        "n": packed.n,
        "most": packed.most,
        "type": structs.enum("Type")[kind],
        **given,
        "act": structs.enum("Act")[given.get("act", "none")],
    }
    return y, emulator.launch(name, fields, resident=3, **how)


def aligned_rows(x: Tensor) -> Tensor:
    """Return x with its rows at multiples of 8 elements, NaN between them."""
    wide = torch.full((len(x), -(-x.shape[1] // 8) * 8), float("nan"), dtype=x.dtype)
    wide[:, : x.shape[1]] = x
    return wide[:, : x.shape[1]]


def check_lb32(
    emulator: Emulator,
    name: str,
    shape: tuple[int, int, int],
    density: float,
    kind: str,
    real: bool,
) -> None:
    """Raise unless the kernel computes a random weight of this density, and cleanly."""
    rows, out, in_ = shape
    gen = data.generator(rows + out)
    mask = data.random_mask(out, in_, density, gen)
    make = data.reals if real else data.integers
    weight = make((out, in_), gen, TYPES[kind])
    x = make((rows, in_), gen, TYPES[kind])
    bias = make((out,), gen)
    y, outcome = launch(
        emulator, name, aligned_rows(x), lanes.lb32(weight, mask), out, bias=bias, seed=rows
    )
    outcome.clean()
    (judge.within_bound if real else judge.exact_truth)(y, truth.linear(x, weight, mask, bias))


def check_epilogue(
    emulator: Emulator, name: str, packed: Lanes, weight: Tensor, mask: Tensor, act: str
) -> None:
    """Raise unless bias, activation and residual are as they should be, the columns in parts."""
    gen = data.generator(len(act))
    out, in_ = weight.shape
    x = data.reals((5, in_), gen, weight.dtype) / 4
    bias = data.reals((out,), gen)
    residual = data.reals((5, out), gen, weight.dtype)
    y, outcome = launch(
        emulator, name, x, packed, out, bias=bias, residual=residual, act=act, split=2, seed=3
    )
    outcome.clean()
    judge.within_bound(y, truth.linear(x, weight, mask, bias, residual, act))


def check_parts(emulator: Emulator, name: str, packed: Lanes, weight: Tensor, mask: Tensor) -> None:
    """Raise unless parts of the columns are added to the same bits in every order, and again."""
    gen = data.generator(6)
    out, in_ = weight.shape
    x = data.reals((9, in_), gen, weight.dtype)
    found = []
    for seed in (0, 1, 2):
        y, outcome = launch(emulator, name, x, packed, out, split=3, seed=seed, times=2)
        outcome.clean()
        found.append(y)
    assert all(torch.equal(found[0], other) for other in found)
    judge.within_bound(found[0], truth.linear(x, weight, mask))


def check_reads(outcome: Outcome) -> None:
    """Raise unless every byte of the weight was read from global memory once."""
    assert outcome.reads["masks"].unique().tolist() == [1]
    assert outcome.reads["values"].unique().tolist() == [1]
    count = outcome.counters
    assert count["ldmatrix_wavefronts"] == count["ldmatrix_wavefronts_ideal"]
    assert outcome.buffers["values"]["read_bytes"] == outcome.buffers["values"]["bytes"]


def check_dense(
    emulator: Emulator, name: str, packed: Lanes, weight: Tensor, mask: Tensor
) -> Outcome:
    """Raise unless a to_dense kernel writes the weight out, bit for bit; return what it did."""
    out, in_ = weight.shape
    wide = poisoned(out, -(-in_ // 8) * 8, dtype=weight.dtype)
    fields = {
        "values": packed.values,
        "masks": packed.masks,
        "starts": packed.starts if len(packed.starts) else None,
        "weight": wide[:, :in_],
        "in_features": in_,
        "out_features": out,
        "stride": wide.shape[1],
        "n": packed.n,
        "type": structs.enum("Type")["f16"],
    }
    outcome = emulator.launch(name, fields, seed=out, resident=2, counted=("values", "masks"))
    outcome.clean()
    expected = torch.where(mask, weight, torch.zeros_like(weight))
    judge.exact(wide[:, :in_].contiguous().view(torch.int16), expected.view(torch.int16))
    assert wide[:, in_:].isnan().all(), "it writes beyond the weight's columns"
    return outcome
