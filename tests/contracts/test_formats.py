"""What every packed format promises, whatever its bytes: a new format is held to it by its name."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from secateur.formats import FORMATS, Format, Header, Packed, permutation
from secateur.formats.header import ALIGNMENT, TAIL_BYTES, bucket, verdict, with_verdicts
from secateur.formats.layout import VALUE_PADDING
from tests.support import data, judge

NAMES = FORMATS.names()
SHAPES = [(1, 4), (1, 240), (5, 1), (7, 12), (33, 120), (65, 257), (130, 480)]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture(params=NAMES)
def fmt(request: pytest.FixtureRequest) -> Format:
    return FORMATS.get(request.param)


def fitting(fmt: Format, out: int, in_: int) -> dict[str, Tensor]:
    masks = data.masks(out, in_, data.generator())
    return {name: mask for name, mask in masks.items() if fmt.fits(mask) is None}


def sample(fmt: Format, out: int = 40, in_: int = 480, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A mask that the format takes, half kept, and a weight without zeros."""
    gen = data.generator(seed)
    return data.reals((out, in_), gen), data.mask_for(fmt.name, out, in_, gen)


def round_trip(fmt: Format, weight: Tensor, mask: Tensor) -> Packed:
    packed = fmt.pack(weight, mask)
    pruned = weight.masked_fill(~mask, 0)
    judge.exact(fmt.unpack(packed.values, packed.index), pruned)
    rows, columns = fmt.positions(packed.index)
    nnz = Header.read(packed.index).nnz
    assert len(rows) == len(columns) == nnz == fmt.slots(mask)
    assert rows.dtype == columns.dtype == torch.int64
    judge.exact(packed.values[fmt.occupied(packed.index)], pruned[rows, columns])
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == nnz, "a position twice"
    return packed


def test_a_format_is_filed_under_its_own_name(fmt: Format) -> None:
    assert FORMATS.get(fmt.name) is fmt
    assert len({FORMATS.get(name).code for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_is_packed_comes_back(fmt: Format, shape: tuple[int, int]) -> None:
    for mask in fitting(fmt, *shape).values():
        round_trip(fmt, data.reals(shape, data.generator()), mask)


@pytest.mark.parametrize("in_", [n for n in data.block_sizes() if n % 4 == 0] + [768])
@pytest.mark.parametrize("out", [511, 512, 513])
def test_block_borders(fmt: Format, out: int, in_: int) -> None:
    round_trip(fmt, *sample(fmt, out, in_))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_keep_the_weights_dtype(fmt: Format, dtype: torch.dtype) -> None:
    weight, mask = sample(fmt)
    packed = round_trip(fmt, weight.to(dtype), mask)
    assert packed.values.dtype == dtype


def test_views_pack_like_copies(fmt: Format) -> None:
    weight, mask = sample(fmt)
    whole = fmt.pack(weight, mask)
    view = fmt.pack(weight.T.contiguous().T, mask.T.contiguous().T)
    judge.exact(view.values, whole.values)
    judge.exact(view.index, whole.index)


def test_pruned_weights_may_be_anything(fmt: Format) -> None:
    weight, mask = sample(fmt)
    clean = fmt.pack(weight, mask)
    dirty = fmt.pack(weight.masked_fill(~mask, float("nan")), mask)
    judge.exact(dirty.values, clean.values)


def test_packing_leaves_its_input_and_its_graph_alone(fmt: Format) -> None:
    weight, mask = sample(fmt)
    parameter, mask_before = torch.nn.Parameter(weight.clone()), mask.clone()
    packed = fmt.pack(parameter, mask)
    packed.values.zero_()
    judge.exact(parameter.detach(), weight)
    judge.exact(mask, mask_before)
    assert not packed.values.requires_grad


def test_the_header_says_what_was_packed(fmt: Format) -> None:
    weight, mask = sample(fmt)
    packed = fmt.pack(weight, mask)
    header = Header.read(packed.index)
    assert (header.out_features, header.in_features) == tuple(weight.shape)
    assert (packed.out_features, packed.in_features) == tuple(weight.shape)
    assert header.format == fmt.code
    assert header.nnz == int(mask.sum())
    assert header.verdicts == header.machine == header.perm_offset == 0
    assert all(offset % ALIGNMENT == 0 for offset in header.offsets.values())
    assert packed.nbytes == packed.values.nbytes + packed.index.nbytes


def test_kernels_may_read_past_the_end(fmt: Format) -> None:
    packed = fmt.pack(*sample(fmt))
    padding = packed.values.clone()
    padding[fmt.occupied(packed.index)] = 0
    judge.exact(padding, torch.zeros_like(padding))
    used = torch.zeros_like(padding, dtype=torch.bool)
    used[fmt.occupied(packed.index)] = True
    assert int(used.sum()) == Header.read(packed.index).nnz
    assert not used[-VALUE_PADDING:].any()
    tail = packed.index[-TAIL_BYTES:]
    judge.exact(tail, torch.zeros_like(tail))
    assert packed.values.is_contiguous()
    assert packed.index.is_contiguous()
    assert packed.index.data_ptr() % ALIGNMENT == 0


def test_weights_of_one_shape_have_one_length(fmt: Format) -> None:
    packed = [fmt.pack(*sample(fmt, 100, 480, seed)) for seed in range(8)]
    lengths = {(len(p.values), len(p.index)) for p in packed}
    transposed = {len(fmt.transpose(p.index)) for p in packed}
    assert len(lengths) == len(transposed) == 1


@pytest.mark.parametrize("shape", [*SHAPES, (513, 388)], ids=str)
def test_the_transpose_reads_the_same_values(fmt: Format, shape: tuple[int, int]) -> None:
    csr = FORMATS.get("csr")
    for mask in fitting(fmt, *shape).values():
        weight = data.reals(shape, data.generator())
        packed = fmt.pack(weight, mask)
        index = fmt.transpose(packed.index)
        perm = permutation(index)
        header, header_t = Header.read(packed.index), Header.read(index)
        assert (header_t.out_features, header_t.in_features) == (shape[1], shape[0])
        assert header_t.nnz == header.nnz
        places = torch.arange(len(packed.values))[fmt.occupied(packed.index)]
        judge.exact(perm[: header.nnz].sort().values.long(), places)
        values = packed.values[perm]
        judge.exact(csr.unpack(values, index), weight.masked_fill(~mask, 0).T)
        judge.exact(values[header.nnz :], torch.zeros_like(values[header.nnz :]))


def test_unpacking_is_differentiable(fmt: Format) -> None:
    weight, mask = sample(fmt)
    packed = fmt.pack(weight, mask)
    values = packed.values.clone().requires_grad_()
    incoming = data.integers(weight.shape, data.generator(1))
    fmt.unpack(values, packed.index).backward(incoming)
    rows, columns = fmt.positions(packed.index)
    assert values.grad is not None
    occupied = fmt.occupied(packed.index)
    judge.exact(values.grad[occupied], incoming[rows, columns])
    values.grad[occupied] = 0
    assert not values.grad.any()


def test_copies_and_pickles_carry_the_tensors(fmt: Format) -> None:
    packed = fmt.pack(*sample(fmt))
    for other in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        assert (other.format, other.out_features) == (packed.format, packed.out_features)
        judge.exact(other.values, packed.values)
        judge.exact(other.index, packed.index)
        assert other.index.data_ptr() != packed.index.data_ptr()


def test_verdicts_are_read_back(fmt: Format) -> None:
    packed = fmt.pack(*sample(fmt))
    assert verdict(packed.index, 16) is None
    before = packed.index.clone()
    marked = with_verdicts(packed.index, {1: "dense", 16: "sparse", 1000: "dense"}, 0xDEADBEEF)
    judge.exact(packed.index, before)
    assert [verdict(marked, rows) for rows in (0, 1, 2, 9, 16, 17, 513, 1024)] == [
        *("dense", "dense", None, "sparse", "sparse", None, "dense", "dense")
    ]
    header = Header.read(marked)
    assert header.machine == 0xDEADBEEF
    assert header.offsets == Header.read(packed.index).offsets
    judge.exact(fmt.unpack(packed.values, marked), fmt.unpack(packed.values, packed.index))
    assert all(header.verdict(rows) == verdict(marked, rows) for rows in range(1, 40))
    assert bucket(2**40) == 15


BAD_INPUT = {
    "a mask that is not bool": (lambda w, m: (w, m.int()), TypeError, "mask must be bool"),
    "a weight of integers": (lambda w, m: (w.int(), m), TypeError, "weight must be one of"),
    "another shape": (lambda w, m: (w[1:], m), ValueError, "one shape"),
    "a vector": (lambda w, m: (w[0], m[0]), ValueError, r"mask must be \[out, in\]"),
    "no rows": (lambda w, m: (w[:0], m[:0]), ValueError, r"mask must be \[out, in\]"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_named(fmt: Format, case: str) -> None:
    spoil, error, words = BAD_INPUT[case]
    with pytest.raises(error, match=words):
        fmt.pack(*spoil(*sample(fmt)))


@st.composite
def weights_and_masks(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    out, in_ = draw(st.integers(1, 20)), draw(st.integers(1, 40))
    bits = draw(st.lists(st.booleans(), min_size=out * in_, max_size=out * in_))
    weight = data.reals((out, in_), data.generator(draw(st.integers(0, 9))))
    return weight, torch.tensor(bits).reshape(out, in_)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(weights_and_masks())
def test_any_mask_is_packed_rightly_or_refused_with_a_reason(
    name: str, case: tuple[Tensor, Tensor]
) -> None:
    fmt, (weight, mask) = FORMATS.get(name), case
    reason = fmt.fits(mask)
    if reason is None:
        judge.exact(
            fmt.unpack(*(lambda p: (p.values, p.index))(fmt.pack(weight, mask))),
            weight.masked_fill(~mask, 0),
        )
    else:
        assert reason
        with pytest.raises(ValueError, match=r"does not fit.*use"):
            fmt.pack(weight, mask)


@pytest.mark.parametrize("name", NAMES)
def test_every_format_takes_some_mask(name: str) -> None:
    assert fitting(FORMATS.get(name), 33, 120)
