"""nm_unpack: what torch's converter packed becomes dense again, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.support import data
from tests.support.cuda import pairs
from tests.support.cuda.emulator import Emulator, poisoned
from tests.support.cuda.pairs import KERNELS, TYPES, expected, unpack


def two_of_four(shape: tuple[int, int], kind: str) -> Tensor:
    gen = data.generator(1)
    mask = data.nm_mask(shape[0], -(-shape[1] // 4) * 4, 2, 4, gen)[:, : shape[1]]
    return data.integers(shape, gen, TYPES[kind]) * mask


@pytest.mark.parametrize(("layout", "kind"), KERNELS)
@pytest.mark.parametrize("shape", [(64, 128), (33, 72), (5, 66), (70, 130)])
def test_it_is_the_weight_that_was_packed(
    emulator: Emulator, layout: str, kind: str, shape: tuple[int, int]
) -> None:
    weight = two_of_four(shape, kind)
    found = poisoned(*shape, dtype=weight.dtype)
    faults, outcome = unpack(emulator, layout, expected(layout, weight), found)
    outcome.clean()
    assert faults == 0
    assert torch.equal(found, weight)


@pytest.mark.parametrize(("layout", "kind"), KERNELS)
def test_what_lies_between_rows_stays(emulator: Emulator, layout: str, kind: str) -> None:
    weight = two_of_four((40, 72), kind)
    whole = torch.full((40, 88), 7).to(weight.dtype)
    _, outcome = unpack(emulator, layout, expected(layout, weight), whole[:, 8:80])
    outcome.clean()
    assert torch.equal(whole[:, 8:80], weight)
    assert bool((whole[:, :8] == 7).all() and (whole[:, 80:] == 7).all())


@pytest.mark.parametrize(("layout", "kind"), KERNELS)
def test_offsets_of_rows_take_more_than_32_bits(emulator: Emulator, layout: str, kind: str) -> None:
    weight = two_of_four((2, 72), kind)
    far = pairs.far_apart(2, 72, weight.dtype)
    _, outcome = unpack(emulator, layout, expected(layout, weight), far)
    outcome.clean()
    assert torch.equal(far, weight)


@pytest.mark.parametrize("layout", ["torch24", "fragment24"])
def test_tiles_are_counted_in_64_bits_and_launched_in_32(emulator: Emulator, layout: str) -> None:
    name = f"nm_unpack_{layout}"
    assert emulator.refusal(name, pairs.most_tiles("nm_unpack", -1)) == ""
    for over in (0, 2**32):
        refusal = emulator.refusal(name, pairs.most_tiles("nm_unpack", over))
        assert "fewer than 2^31 tiles" in refusal


@pytest.mark.parametrize(("layout", "kind"), KERNELS)
@pytest.mark.parametrize("nibble", [0x0, 0x1, 0x5, 0xA, 0xB, 0xF])
def test_a_nibble_that_names_no_two_places_is_a_fault(
    emulator: Emulator, layout: str, kind: str, nibble: int
) -> None:
    weight = two_of_four((32, 64), kind)
    values, meta = expected(layout, weight)
    meta[21] = meta[21] & ~(15 << 20) | nibble << 20
    found = poisoned(32, 64, dtype=weight.dtype)
    faults, outcome = unpack(emulator, layout, (values, meta), found)
    outcome.clean()
    assert faults == 1


@pytest.mark.parametrize(("layout", "kind"), KERNELS)
def test_every_byte_is_moved_once_in_whole_sectors(
    emulator: Emulator, layout: str, kind: str
) -> None:
    weight = two_of_four((64, 256), kind)
    found = poisoned(64, 256, dtype=weight.dtype)
    packed = expected(layout, weight)
    _, outcome = unpack(emulator, layout, packed, found, counted=("values", "meta"))
    outcome.clean()
    for name in ("values", "meta"):
        assert outcome.reads[name].unique().tolist() == [1]
    written = outcome.buffers["weight"]
    assert written["written_bytes"] == found.nbytes == 32 * written["written_sectors"]
    counters = outcome.counters
    assert counters["load_sectors"] == counters["load_sectors_ideal"]


def test_what_it_cannot_run_it_refuses(emulator: Emulator) -> None:
    packed = pairs.expected("torch24", torch.zeros(32, 64, dtype=torch.float16))
    with pytest.raises(ValueError, match="type: wanted f16, bf16 or i8"):
        unpack(emulator, "fragment24", packed, torch.zeros(32, 64))
