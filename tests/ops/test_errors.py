"""Wrong calls of a linear op: each is refused in Python's own words, whichever kernel would run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from secateur import ops
from secateur.formats import FORMATS
from tests.support import data


def arguments(name: str, **changes: Any) -> dict[str, Any]:
    mask = data.mask_for(name, 16, 24, data.generator())
    packed = FORMATS.get(name).pack(mask.float(), mask)
    other_name = "nm" if name == "csr" else "csr"
    mask = data.mask_for(other_name, 16, 24, data.generator())
    other = FORMATS.get(other_name).pack(mask.float(), mask)
    right = {
        "x": torch.ones(3, 24),
        "values": packed.values,
        "index": packed.index,
        "out_features": 16,
    }
    return {**right, **{k: v(other) if callable(v) else v for k, v in changes.items()}}


def public(name: str, **given: Any) -> None:
    getattr(ops, f"{name}_linear")(**given)


def definition(name: str, **given: Any) -> None:
    getattr(torch.ops.secateur, f"{name}_linear_reference")(**given)


VALUE_ERRORS = {
    r"x has 20 features but the weight expects 24 \(x: \[3, 20\], weight: \[16, 24\]\)": {
        "x": torch.ones(3, 20)
    },
    r"x must be \[\.\.\., in_features\], got a tensor without dimensions": {"x": torch.tensor(1.0)},
    "out_features is 17 but the weight has 16": {"out_features": 17},
    r"bias must be \[16\], got \[1\]": {"bias": torch.ones(1)},
    r"residual must be \[3, 16\], got \[16\]": {"residual": torch.ones(16)},
    r"residual must be \[3, 16\], got \[16, 3\]": {"residual": torch.ones(16, 3)},
    "act must be one of none, relu, gelu, gelu_tanh, silu, relu6, got 'tanh'": {"act": "tanh"},
    r"scale must be \[16\], got \[1\]": {
        "values": torch.ones(400, dtype=torch.int8),
        "scale": torch.ones(1),
    },
    r"values must have at least 192 \+ 16 elements": {"values": torch.ones(100)},
    "values must be 1-D and contiguous": {"values": torch.ones(16, 24)},
    "index was packed by another format": {"index": lambda other: other.index},
    "mark of a packed weight": {"index": torch.zeros(4096, dtype=torch.uint8)},
    "at least 128 bytes": {"index": torch.zeros(8, dtype=torch.uint8)},
    "values is on meta but x is on cpu": {"values": torch.ones(400, device="meta")},
}
TYPE_ERRORS = {
    r"x must be floating, got torch\.int64": {"x": torch.ones(3, 24, dtype=torch.int64)},
    r"values must be floating, got torch\.int32": {"values": torch.ones(400, dtype=torch.int32)},
    r"got values of torch\.int8 and no scale": {"values": torch.ones(400, dtype=torch.int8)},
    r"got values of torch\.float32 and a scale": {"scale": torch.ones(16)},
    r"scale must be float32, got torch\.float64": {
        "values": torch.ones(400, dtype=torch.int8),
        "scale": torch.ones(16, dtype=torch.float64),
    },
    r"bias must be floating, got torch\.int32": {"bias": torch.ones(16, dtype=torch.int32)},
    r"index must be uint8, got torch\.float32": {"index": torch.ones(4096)},
}


@pytest.mark.parametrize("run", [public, definition])
@pytest.mark.parametrize("name", FORMATS.names())
@pytest.mark.parametrize("words", VALUE_ERRORS)
def test_what_does_not_fit_is_named(name: str, words: str, run: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match=words):
        run(name, **arguments(name, **VALUE_ERRORS[words]))


@pytest.mark.parametrize("run", [public, definition])
@pytest.mark.parametrize("name", FORMATS.names())
@pytest.mark.parametrize("words", TYPE_ERRORS)
def test_wrong_dtypes_are_named(name: str, words: str, run: Callable[..., None]) -> None:
    with pytest.raises(TypeError, match=words):
        run(name, **arguments(name, **TYPE_ERRORS[words]))


@pytest.mark.parametrize("name", FORMATS.names())
def test_what_a_call_does_not_use_is_checked_by_the_definition(name: str) -> None:
    with pytest.raises(ValueError, match=r"dense must be \[16, 24\], got \[24, 16\]"):
        definition(name, **arguments(name, dense=torch.ones(24, 16)))
    with pytest.raises(TypeError, match=r"transposed must be uint8, got torch\.float32"):
        definition(name, **arguments(name, transposed=torch.ones(400)))


@pytest.mark.parametrize("name", FORMATS.names())
def test_backward_with_an_index_that_is_no_transpose(name: str) -> None:
    mask = data.mask_for(name, 16, 24, data.generator())
    packed = FORMATS.get(name).pack(mask.float(), mask)
    dx = getattr(torch.ops.secateur, f"{name}_linear_dx")
    grad = torch.ones(3, 16)
    with pytest.raises(ValueError, match=r"\(24, 16, 192\).*pass Format\.transpose"):
        dx(grad, packed.values, packed.index, packed.index, in_features=24)
    other = FORMATS.get("csr").transpose(
        FORMATS.get("csr").pack(torch.ones(8, 24), torch.ones(8, 24, dtype=torch.bool)).index
    )
    with pytest.raises(ValueError, match=r"transposed is of a weight .* pass Format\.transpose"):
        dx(grad, packed.values, packed.index, other, in_features=24)
