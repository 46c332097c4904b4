"""What cannot be packed, and what the message says; what is odd but can be, and comes out right."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from secateur import ops
from secateur.formats import FORMATS, Header, Layout
from secateur.formats.header import Section, assemble
from secateur.formats.nm import Nm
from tests.support import data, judge, truth

NAMES = FORMATS.names()


def sample(name: str = "nm") -> tuple[Tensor, Tensor]:
    """Return a weight, and a mask that the format `name` takes."""
    gen = data.generator()
    return data.integers((16, 24), gen), data.mask_for(name, 16, 24, gen)


def test_nm_needs_whole_groups() -> None:
    weight, mask = sample()
    with pytest.raises(ValueError, match=r"2:16 needs in_features divisible by 16, got 24; use"):
        Nm(2, 16).pack(weight, mask)


def test_nm_names_the_group_that_breaks_the_pattern() -> None:
    weight, mask = sample()
    mask[3, 4:7] = True
    with pytest.raises(ValueError, match=r"keeps 2 of 4, but a group of the mask has [34]; use"):
        Nm(2, 4).pack(weight, mask)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", ["weight", "mask"])
def test_a_tensor_without_numbers_is_refused(name: str, which: str) -> None:
    given: Mapping[str, Tensor] = dict(zip(("weight", "mask"), sample(), strict=True))
    given = {**given, which: given[which].to("meta")}
    with pytest.raises(ValueError, match=f"{which} is on the device meta.*load it first"):
        FORMATS.get(name).pack(**given)


@pytest.mark.parametrize(
    ("k_block", "row_block", "words"),
    [
        (257, 256, r"k_block must be in \[1, 256\], got 257"),
        (0, 256, r"k_block must be in \[1, 256\], got 0"),
        (128, 65536, r"row_block must be in \[1, 65535\], got 65536"),
        (128, 0, r"row_block must be in \[1, 65535\], got 0"),
    ],
)
def test_a_layout_that_its_positions_cannot_count_is_refused(
    k_block: int, row_block: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Layout(k_block, row_block)


def test_an_index_beyond_four_gigabytes_is_refused() -> None:
    columns = Section(torch.zeros(1, dtype=torch.uint8).numpy(), 2**32)
    with pytest.raises(ValueError, match=r"takes? \d+ bytes, the limit is 4 GiB; split the layer"):
        assemble(Header(format=1), {"columns": columns})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_kept_weights_are_packed_as_they_are(name: str, number: float) -> None:
    """An infinity reaches the rows that keep it, as in a dense layer, and no other."""
    weight, mask = sample(name)
    row, column = (int(side[5]) for side in mask.nonzero(as_tuple=True))
    weight[row, column] = number
    weight[~mask] = number
    packed = FORMATS.get(name).pack(weight, mask)
    x = data.integers((3, 24), data.generator(1)) + 5.0
    op = getattr(ops, f"{name}_linear")
    y = op(x, packed.values, packed.index, out_features=16)
    wanted = truth.linear(x, weight, mask).y.float()
    assert not wanted[:, row].isfinite().any()
    assert torch.cat([wanted[:, :row], wanted[:, row + 1 :]], dim=1).isfinite().all()
    judge.exact(y.nan_to_num(7.5, 8.5, 9.5), wanted.nan_to_num(7.5, 8.5, 9.5))


@pytest.mark.parametrize("name", NAMES)
def test_on_the_device_meta_an_op_gives_the_shape_alone(name: str) -> None:
    weight, mask = sample(name)
    packed = FORMATS.get(name).pack(weight, mask)
    tensors = (t.to("meta") for t in (torch.ones(5, 24), packed.values, packed.index))
    y = getattr(ops, f"{name}_linear")(*tensors, out_features=16)
    assert (y.device.type, tuple(y.shape)) == ("meta", (5, 16))
    with pytest.raises(ValueError, match="values is on cpu but x is on meta"):
        x = torch.ones(5, 24, device="meta")
        getattr(ops, f"{name}_linear")(x, packed.values, packed.index, out_features=16)
