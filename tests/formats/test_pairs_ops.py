"""Packing of 2:4 as ops: pruning at once, int8, what is refused, and what tracing sees."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from secateur.formats import FORMATS, Header
from secateur.formats._pairs import Pairs
from secateur.formats.header import HEADER_BYTES, TAIL_BYTES, frame
from secateur.formats.layout import DEFAULT_LAYOUT
from secateur.pruning.groups import keep_in_groups
from tests.support import data, judge

NAMES = ["semi", "semi8", "semi_frag"]


@pytest.fixture(params=NAMES)
def packer(request: pytest.FixtureRequest) -> Pairs:
    found = FORMATS.get(request.param)
    assert isinstance(found, Pairs)
    return found


def sample(shape: tuple[int, int] = (33, 72)) -> tuple[Tensor, Tensor]:
    wide = -(-shape[1] // 4) * 4
    mask = data.nm_mask(shape[0], wide, 2, 4, data.generator())[:, : shape[1]]
    return data.reals(shape, data.generator(1), torch.float16), mask


@pytest.mark.parametrize("shape", [(32, 64), (33, 72), (7, 13), (1, 3), (5, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_the_two_largest_of_four_are_those_of_the_pruner(
    packer: Pairs, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    weight = data.integers(shape, data.generator(), dtype)  # of nine values: ties, and zeros
    sizes = torch.nn.functional.pad(weight.float().abs(), (0, -shape[1] % 4))
    kept = keep_in_groups(sizes.view(-1, 4), 2).view(sizes.shape)[:, : shape[1]] & (weight != 0)
    at_once, by_mask = packer.pack_largest(weight), packer.pack(weight, kept)
    judge.exact(at_once.values, by_mask.values)
    judge.exact(at_once.index, by_mask.index)
    judge.exact(packer.unpack(at_once.values, at_once.index), weight.masked_fill(~kept, 0))


def test_what_cannot_be_ranked_or_packed_is_refused(packer: Pairs) -> None:
    weight, _ = sample()
    weight[9, 22] = float("nan")
    with pytest.raises(ValueError, match=r": weight is NaN at row 9, column 22, which has no mag"):
        packer.pack_largest(weight)
    with pytest.raises(TypeError, match=r"weight must be one of .*torch.float16.*got torch.int64"):
        packer.pack_largest(torch.ones(4, 4, dtype=torch.int64))
    for shape in ((4,), (0, 64), (4, 0), (1, 4, 4)):
        with pytest.raises(ValueError, match=r"weight must be \[out, in\] with neither zero, got"):
            packer.pack_largest(torch.zeros(shape))
    with pytest.raises(ValueError, match="weight is on the device meta"):
        packer.pack_largest(torch.zeros(4, 4, device="meta"))


def test_too_many_values_are_refused_before_any_memory_is_asked_for(packer: Pairs) -> None:
    huge = torch.zeros(1, dtype=torch.float16).expand(2**17, 2**16)  # two bytes that look like 16 G
    with pytest.raises(ValueError, match=r"keeps 4294967296 values, the limit is 2147483647"):
        packer.pack_largest(huge)


def test_int8_is_packed_as_it_is() -> None:
    semi8, semi = FORMATS.get("semi8"), FORMATS.get("semi")
    _, mask = sample()
    weight = data.integers((33, 72), data.generator(1), torch.int8) * 15
    weight[0, :4] = torch.tensor([-128, 127, -127, 1])
    packed, floating = semi8.pack(weight, mask), semi8.pack(weight.float(), mask)
    judge.exact(packed.values, floating.values.to(torch.int8))
    judge.exact(packed.index, floating.index)
    judge.exact(semi8.unpack(packed.values, packed.index), weight.masked_fill(~mask, 0))
    assert isinstance(semi8, Pairs)
    first = semi8.pack_largest(weight[:1, :4])
    judge.exact(
        semi8.unpack(first.values, first.index), torch.tensor([[-128, 127, 0, 0]], dtype=torch.int8)
    )
    with pytest.raises(TypeError, match="weight must be one of"):
        semi.pack(weight, mask)


@pytest.mark.parametrize("nibble", [0x0, 0x1, 0x5, 0xA, 0xF])
def test_damaged_metadata_are_not_unpacked(packer: Pairs, nibble: int) -> None:
    packed = packer.pack(*sample())
    packed.index[HEADER_BYTES + 21] = packed.index[HEADER_BYTES + 21] & 0xF0 | nibble
    with pytest.raises(ValueError, match="meta names a position twice, or in falling order"):
        packer.unpack(packed.values, packed.index)


def test_values_and_index_of_two_weights_are_refused(packer: Pairs) -> None:
    packed = packer.pack(*sample())
    with pytest.raises(ValueError, match="must be on one device, got meta and cpu; move both"):
        packer.unpack(packed.values.to("meta"), packed.index)
    slots = 64 * packer.padded(33, 72)[1] // 2
    with pytest.raises(ValueError, match=rf"at least {slots} elements, got \[{slots - 1}\]"):
        packer.unpack(packed.values[: slots - 1], packed.index)
    with pytest.raises(ValueError, match="values must be 1-D"):
        packer.unpack(packed.values.view(1, -1), packed.index)


def test_bits_of_a_nan_are_kept(packer: Pairs) -> None:
    weight = torch.zeros(32, 64, dtype=torch.bfloat16)
    weight.view(torch.int16)[3, 5] = 0x7F81  # signalling, with a payload
    mask = torch.zeros(32, 64, dtype=torch.bool)
    mask[3, 5] = True
    packed = packer.pack(weight, mask)
    back = packer.unpack(packed.values, packed.index)
    judge.exact(back.view(torch.int16), weight.view(torch.int16))


def test_opcheck(packer: Pairs) -> None:
    weight, mask = sample()
    packed, ops = packer.pack(weight, mask), torch.ops.secateur
    torch.library.opcheck(ops.pairs_pack.default, (weight, mask, packer.name))
    torch.library.opcheck(ops.pairs_pack.default, (weight, None, packer.name))
    unpacking = (packed.values, packed.index, 33, 72, packer.name)
    torch.library.opcheck(ops.pairs_unpack.default, unpacking)


def test_a_frame_has_header_and_tail_and_room_between() -> None:
    header = Header.of(7, (32, 64), 1024, DEFAULT_LAYOUT, (2, 4))
    index = frame(header, {"columns": 256}, torch.device("cpu"))
    assert len(index) == HEADER_BYTES + 256 + TAIL_BYTES
    read = Header.read(index)
    assert (read.columns_offset, read.nnz, read.n, read.m) == (HEADER_BYTES, 1024, 2, 4)
    assert not index[-TAIL_BYTES:].any()
    with pytest.raises(ValueError, match="the limit is 4 GiB; split the layer"):
        frame(header, {"columns": 2**32}, torch.device("cpu"))
