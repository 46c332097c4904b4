"""The formats pack what the contract of the kernels says: every word and every value."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from secateur.formats import FORMATS
from secateur.formats.header import Header
from tests.support import data, judge
from tests.support.cuda import lanes

pytest.importorskip("secateur.formats.lb32", reason="the format is not in this tree")

SIDES = [(16, 64), (33, 200), (70, 328)]


def section(index: Tensor, name: str, count: int) -> Tensor:
    return Header.read(index).section(index, name, torch.int32, count)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(("out", "in_"), SIDES)
def test_lb32_is_packed_as_its_kernels_read_it(out: int, in_: int, density: float) -> None:
    gen = data.generator(out)
    mask = data.random_mask(out, in_, density, gen)
    weight = data.reals((out, in_), gen, torch.float16)
    packed = FORMATS.get("lb32").pack(weight, mask)
    expected = lanes.lb32(weight, mask)
    judge.exact(section(packed.index, "columns", len(expected.masks)), expected.masks)
    judge.exact(section(packed.index, "table", len(expected.starts)), expected.starts)
    real = ~expected.values.isnan()  # margins of tiles hold anything
    judge.exact(packed.values[: len(real)][real], expected.values[real])
    assert len(packed.values) >= len(real)


@pytest.mark.parametrize("n", [2, 8, 16])
@pytest.mark.parametrize(("out", "in_"), [(16, 128), (32, 256), (33, 320)])
def test_n32_is_packed_as_its_kernels_read_it(out: int, in_: int, n: int) -> None:
    gen = data.generator(n)
    mask = data.nm_mask(out, in_, n, 32, gen)
    weight = data.reals((out, in_), gen, torch.bfloat16)
    packed = FORMATS.get("n32").pack(weight, mask)
    expected = lanes.n32(weight, mask, n)
    assert Header.read(packed.index).n == n
    judge.exact(section(packed.index, "columns", len(expected.masks)), expected.masks)
    judge.exact(packed.values[: len(expected.values)], expected.values)
