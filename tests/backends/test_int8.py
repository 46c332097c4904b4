"""int8 x by int8 2:4 weights where there is no GPU: the definition, rounding of x, and refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from secateur.backends.cuda import int8
from secateur.formats import FORMATS
from secateur.formats.base import Packed
from tests.support import data, judge


def weight(out: int = 40, in_: int = 72) -> tuple[Tensor, Packed]:
    mask = data.nm_mask(out, in_, 2, 4, data.generator())
    dense = torch.randint(-128, 128, (out, in_), generator=data.generator(1)).to(torch.int8)
    return dense * mask, FORMATS.get("semi8").pack(dense, mask)


def test_without_a_gpu_the_definition_runs_exact_to_the_integer() -> None:
    dense, packed = weight()
    x = torch.randint(-128, 128, (5, 72), generator=data.generator(2)).to(torch.int8)
    assert int8.kernels(x, 40) == ""
    sums = x.long() @ dense.long().T
    judge.exact(int8.product(x, None, packed, torch.ones(40)), sums.float())
    x_scale, scale = torch.rand(5), torch.rand(40)
    wanted = sums.float() * (scale * x_scale[:, None]) + 3
    judge.exact(int8.product(x, x_scale, packed, scale, torch.full((40,), 3.0)), wanted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_rows_are_rounded_to_their_largest(dtype: torch.dtype) -> None:
    x = data.reals((7, 50), data.generator(), dtype)
    x[3] = 0
    x[4] *= 1e-3
    whole, scale = int8.quantize_rows(x)
    assert whole.dtype == torch.int8 and scale.dtype == torch.float32
    assert whole.shape == x.shape and scale.shape == (7,)
    off = (whole * scale[:, None] - x.float()).abs()
    assert bool((off <= scale[:, None] / 2 * (1 + 2**-16)).all())
    largest = whole.int().abs().amax(1)
    assert largest.tolist() == [127, 127, 127, 0, 127, 127, 127]
    assert float(scale[3]) == 1


def test_what_is_no_number_gives_a_row_of_its_own() -> None:
    x = torch.ones(6, 8, dtype=torch.float64)
    x[0, 1], x[1, 2], x[2, 3], x[3, 4] = float("nan"), float("inf"), -float("inf"), 1e300
    x[4] = 1e-45  # float32 has it, but not a 127th of it
    whole, scale = int8.quantize_rows(x)
    assert scale.isnan().tolist() == [True] * 4 + [False] * 2
    assert not bool(whole[:5].any())
    assert float(scale[4]) == 1
    judge.exact(whole[5], torch.full((8,), 127, dtype=torch.int8))


def test_what_cannot_be_rounded_is_refused() -> None:
    with pytest.raises(TypeError, match=r"quantize_rows: x must be floating, got torch.int8"):
        int8.quantize_rows(torch.zeros(2, 3, dtype=torch.int8))
    for shape in ((3,), (2, 0), (2, 3, 4)):
        with pytest.raises(ValueError, match=r"quantize_rows: x must be \[rows, in\] with columns"):
            int8.quantize_rows(torch.zeros(shape))


def half(packed: Packed) -> Packed:
    return replace(packed, values=packed.values.half())


BAD = {
    "x of floats": (TypeError, "x must be int8, got torch.float32; see quantize_rows"),
    "x of another width": (ValueError, r"x must be \[rows, 72\], got \[3, 71\]"),
    "x of one row": (ValueError, r"x must be \[rows, 72\], got \[72\]"),
    "packed semi": (TypeError, "packed must be of the format 'semi8' and int8, got 'semi'"),
    "packed of floats": (TypeError, "got 'semi8' of torch.float16; see SparseLinear.store"),
    "packed cut": (ValueError, "packed says that it is .* and has 7 values, but its index is of"),
    "packed of other sides": (ValueError, r"says that it is \[41, 72\] and has .* of \[40, 72\]"),
    "packed elsewhere": (ValueError, "packed is on meta and cpu, but x is on cpu"),
    "scale of halves": (TypeError, "scale must be float32, got torch.float16"),
    "scale of x": (ValueError, r"scale must be \[40\], got \[3\]"),
    "x_scale": (ValueError, r"x_scale must be \[3\], got \[40\]"),
    "x_scale of doubles": (TypeError, "x_scale must be float32, got torch.float64"),
    "bias": (ValueError, r"bias must be \[40\], got \[1\]"),
    "bias of int8": (TypeError, "bias must be floating, got torch.int8"),
    "residual": (ValueError, r"residual must be \[3, 40\], got \[40, 3\]"),
    "residual of int8": (TypeError, "residual must be float32, got torch.int8"),
    "residual elsewhere": (ValueError, "residual is on meta but x is on cpu"),
    "act": (ValueError, "act must be one of none, relu, gelu, .*, got 'tanh'"),
}


def bad(packed: Packed, scale: Tensor) -> dict[str, dict[str, object]]:
    x = torch.zeros(3, 72)
    return {
        "x of floats": {"x": x},
        "x of another width": {"x": x[:, 1:].to(torch.int8)},
        "x of one row": {"x": x[0].to(torch.int8)},
        "packed semi": {"packed": replace(packed, format="semi")},
        "packed of floats": {"packed": half(packed)},
        "packed cut": {"packed": replace(packed, values=packed.values[:7])},
        "packed of other sides": {"packed": replace(packed, out_features=41)},
        "packed elsewhere": {"packed": replace(packed, values=packed.values.to("meta"))},
        "scale of halves": {"scale": scale.half()},
        "scale of x": {"scale": scale[:3]},
        "x_scale": {"x_scale": scale},
        "x_scale of doubles": {"x_scale": scale[:3].double()},
        "bias": {"bias": scale[:1]},
        "bias of int8": {"bias": scale.to(torch.int8)},
        "residual": {"residual": torch.zeros(40, 3)},
        "residual of int8": {"residual": torch.zeros(3, 40, dtype=torch.int8)},
        "residual elsewhere": {"residual": torch.zeros(3, 40, device="meta")},
        "act": {"act": "tanh"},
    }


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments_are_named(what: str) -> None:
    _, packed = weight()
    scale = torch.ones(40)
    x = torch.zeros(3, 72, dtype=torch.int8)
    arguments = {"x": x, "x_scale": None, "packed": packed, "scale": scale}
    error, why = BAD[what]
    with pytest.raises(error, match=f"product: .*{why}"):
        int8.product(**{**arguments, **bad(packed, scale)[what]})


def test_sums_that_int32_does_not_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = -(-int8.MOST_COLUMNS // 4) * 2
    assert kept * 128 * 128 < 2**31 <= (kept + 2) * 128 * 128
    monkeypatch.setattr(int8, "MOST_COLUMNS", 71)
    _, packed = weight()
    with pytest.raises(ValueError, match="in_features must be at most 71, got 72"):
        int8.product(torch.zeros(1, 72, dtype=torch.int8), None, packed, torch.ones(40))
