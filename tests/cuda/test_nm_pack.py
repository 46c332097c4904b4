"""nm_pack: a dense weight becomes 2:4 bit for bit as torch's converter and our pruner have it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from secateur.formats import FORMATS
from secateur.formats._pairs import Pairs
from secateur.pruning.groups import keep_in_groups
from tests.support import data
from tests.support.cuda.emulator import Emulator
from tests.support.cuda.pairs import KERNELS, TYPES, expected, far_apart, most_tiles, pack, same

MORE_THAN_TWO, NAN = 1, 2
# Whole tiles; edges of tiles, with rows that are aligned for whole reads and rows that are not.
SHAPES = [(64, 128), (33, 72), (5, 66), (70, 130)]


def sparse(shape: tuple[int, int], kind: str, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a weight without zeros, and a mask that keeps none, one or two of every four."""
    out, in_ = shape
    wide = -(-in_ // 4) * 4
    mask = data.nm_mask(out, wide, 2, 4, gen) & data.random_mask(out, wide, 0.7, gen)
    weight = data.integers((out, wide), gen) * 2 + 1
    return weight[:, :in_].to(TYPES[kind]), mask[:, :in_].contiguous()


@pytest.mark.parametrize(("layout", "kind"), KERNELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_not_zero_is_packed_as_torch_packs_it(
    emulator: Emulator, layout: str, kind: str, shape: tuple[int, int]
) -> None:
    weight, mask = sparse(shape, kind, data.generator(1))
    weight = weight * mask
    packed = pack(emulator, layout, weight)
    same(packed, *expected(layout, weight))
    assert packed.faults == 0


@pytest.mark.parametrize(("layout", "kind"), KERNELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_mask_keeps_is_packed_whatever_it_is(
    emulator: Emulator, layout: str, kind: str, shape: tuple[int, int]
) -> None:
    gen = data.generator(2)
    weight, mask = sparse(shape, kind, gen)
    odd = [0] if kind == "i8" else [0.0, -0.0, float("inf"), float("nan")]
    for value in odd:
        weight[data.random_mask(*shape, 0.1, gen)] = value
    packed = pack(emulator, layout, weight, mask)
    same(packed, *expected(layout, weight, mask))
    assert packed.faults == 0


@pytest.mark.parametrize(
    ("layout", "kind", "format"),
    [
        ("torch24", "f16", "semi"),
        ("torch24", "i8", "semi8"),
        ("fragment24", "bf16", "semi_frag"),
    ],
)
def test_it_is_what_our_formats_pack(
    emulator: Emulator, layout: str, kind: str, format: str
) -> None:
    weight, mask = sparse((45, 120), kind, data.generator(6))  # pads alike in every format
    weight[data.random_mask(45, 120, 0.1, data.generator(7))] = 0
    ours = FORMATS.get(format)
    assert isinstance(ours, Pairs)
    whole = ours.pack(weight if kind != "i8" else weight.float(), mask)
    packed = pack(emulator, layout, weight, mask)
    slots = packed.values.numel()
    same(
        packed, whole.values[:slots].to(weight.dtype), ours.metadata(whole.index).view(torch.int32)
    )


@pytest.mark.parametrize(("layout", "kind"), KERNELS)
@pytest.mark.parametrize("shape", [(64, 128), (33, 72), (9, 68)])
def test_pruning_keeps_what_the_pruner_keeps(
    emulator: Emulator, layout: str, kind: str, shape: tuple[int, int]
) -> None:
    gen = data.generator(3)
    weight = data.integers(shape, gen, TYPES[kind])  # of nine values: ties, and zeros
    if kind == "i8":
        weight[data.random_mask(*shape, 0.1, gen)] = -128
    else:
        weight[data.random_mask(*shape, 0.1, gen)] = -0.0
        weight[data.random_mask(*shape, 0.1, gen)] = float("-inf")
    scores = weight.float().abs()
    mask = keep_in_groups(scores.reshape(-1, 4), 2).view(shape)
    packed = pack(emulator, layout, weight, prune=True)
    same(packed, *expected(layout, weight, mask & (weight != 0)))
    assert packed.faults == 0


@pytest.mark.parametrize("layout", ["torch24", "fragment24"])
def test_every_order_of_four_magnitudes_is_ranked(emulator: Emulator, layout: str) -> None:
    ranks = torch.cartesian_prod(*[torch.arange(4)] * 4)  # equal ones too
    signs = 1 - 2 * (torch.arange(ranks.numel()).view(ranks.shape) % 3 % 2)
    weight = ((ranks + 1) * signs).view(-1, 64).half()
    mask = keep_in_groups(weight.float().abs().view(-1, 4), 2).view(weight.shape)
    same(pack(emulator, layout, weight, prune=True), *expected(layout, weight, mask))


@pytest.mark.parametrize(("layout", "kind"), KERNELS)
@pytest.mark.parametrize("by_mask", [True, False])
@pytest.mark.parametrize("kept", [0b0111, 0b1011, 0b1101, 0b1110, 0b1111])
def test_more_than_two_of_four_are_a_fault(
    emulator: Emulator, layout: str, kind: str, by_mask: bool, kept: int
) -> None:
    places = [place for place in range(4) if kept >> place & 1]
    mask = torch.zeros(40, 64, dtype=torch.bool)
    mask[37, [56 + place for place in places]] = True
    weight = torch.full((40, 64), 3).to(TYPES[kind])
    if not by_mask:
        weight = weight * mask
    packed = pack(emulator, layout, weight, mask if by_mask else None)
    assert packed.faults == MORE_THAN_TWO
    mask[37, [56 + place for place in places[2:]]] = False  # what is left is legal
    same(packed, *expected(layout, weight * mask))


@pytest.mark.parametrize(("layout", "kind"), [k for k in KERNELS if k[1] != "i8"])
def test_a_nan_cannot_be_ranked(emulator: Emulator, layout: str, kind: str) -> None:
    weight = torch.full((32, 64), 2.0, dtype=TYPES[kind])
    weight[9, 22] = float("-nan")
    packed = pack(emulator, layout, weight, prune=True)
    assert packed.faults == NAN
    mask = torch.tensor([True, True, False, False]).repeat(32, 16)
    mask[9, 20:24] = torch.tensor([True, False, True, False])
    same(packed, *expected(layout, weight, mask))


@pytest.mark.parametrize(("layout", "kind"), KERNELS)
def test_rows_may_lie_apart(emulator: Emulator, layout: str, kind: str) -> None:
    weight, mask = sparse((32, 128), kind, data.generator(4))
    packed = pack(emulator, layout, weight[:, 61:125], mask[:, 61:125])
    assert packed.faults == MORE_THAN_TWO  # no longer groups of four
    weight, mask = weight[:, 4:68], mask[:, 4:68]
    same(pack(emulator, layout, weight, mask), *expected(layout, weight, mask))


@pytest.mark.parametrize(("layout", "kind"), KERNELS)
def test_offsets_of_rows_take_more_than_32_bits(emulator: Emulator, layout: str, kind: str) -> None:
    weight, mask = sparse((2, 72), kind, data.generator(8))
    far, far_mask = far_apart(2, 72, weight.dtype), far_apart(2, 72, torch.bool)
    far.copy_(weight)
    far_mask.copy_(mask)
    same(pack(emulator, layout, far, far_mask), *expected(layout, weight, mask))


@pytest.mark.parametrize("layout", ["torch24", "fragment24"])
def test_tiles_are_counted_in_64_bits_and_launched_in_32(emulator: Emulator, layout: str) -> None:
    name = f"nm_pack_{layout}"
    assert emulator.refusal(name, most_tiles("nm_pack", -1)) == ""
    assert "fewer than 2^31 tiles" in emulator.refusal(name, most_tiles("nm_pack", 0))
    assert "fewer than 2^31 tiles" in emulator.refusal(name, most_tiles("nm_pack", 2**32))


@pytest.mark.parametrize(("layout", "kind"), KERNELS)
def test_every_byte_is_moved_once_in_whole_sectors(
    emulator: Emulator, layout: str, kind: str
) -> None:
    weight, mask = sparse((64, 256), kind, data.generator(5))
    packed = pack(emulator, layout, weight, mask, counted=("weight", "mask"))
    outcome = packed.outcome
    outcome.clean()
    for name in ("weight", "mask"):
        assert outcome.reads[name].unique().tolist() == [1]
    for name, written in (("values", packed.values), ("meta", packed.meta)):
        buffer = outcome.buffers[name]
        assert buffer["written_bytes"] == written.nbytes == 32 * buffer["written_sectors"]
    buffer = outcome.buffers["weight"]
    assert buffer["read_bytes"] == weight.nbytes == 32 * buffer["read_sectors"]


def test_an_empty_weight_is_no_launch(emulator: Emulator) -> None:
    weight = torch.zeros(0, 64, dtype=torch.float16)
    assert pack(emulator, "torch24", weight).outcome.counters["blocks"] == 0


def test_what_it_cannot_run_it_refuses(emulator: Emulator) -> None:
    weight = torch.zeros(32, 64)
    with pytest.raises(ValueError, match="mask: wanted null where prune is 1"):
        pack(emulator, "torch24", weight.half(), weight.bool(), prune=True)
    with pytest.raises(ValueError, match="type: wanted f16, bf16 or i8"):
        pack(emulator, "fragment24", weight)
