"""Packing on a GPU is packing: every byte, and every error, from Python to the emulated kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from benchmarks.gpu import packing as bench
from secateur.backends import clock, gpus, registry, verdicts
from secateur.backends.cuda import _library, _packing
from secateur.formats import FORMATS
from secateur.formats._pairs import Pairs
from secateur.formats.header import HEADER_BYTES
from secateur.planning import gpu as planning_gpu
from secateur.pruning.groups import keep_in_groups
from tests.support import data, judge
from tests.support.cuda import packing
from tests.support.cuda.emulator import Emulator
from tests.support.cuda.packing import PackingOps

# Format, type, and the layout of its kernels.
KINDS = [
    ("semi", torch.float16, "torch24"),
    ("semi", torch.bfloat16, "torch24"),
    ("semi_frag", torch.float16, "fragment24"),
    ("semi_frag", torch.bfloat16, "fragment24"),
    ("semi8", torch.int8, "torch24"),
]
FLOATS = [kind for kind in KINDS if kind[1] != torch.int8]
# On a tile, off it by rows and columns, with a cut group, and one row or column of weights.
SHAPES = [(64, 128), (33, 72), (31, 130), (5, 66), (1, 3), (70, 1)]


@pytest.fixture
def ops(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackingOps]:
    with packing.on_cpu(emulator, monkeypatch) as found:
        yield found


def pairs(name: str) -> Pairs:
    found = FORMATS.get(name)
    assert isinstance(found, Pairs)
    return found


def drawn(shape: tuple[int, int], dtype: torch.dtype, seed: int = 1) -> tuple[Tensor, Tensor]:
    """A weight with whatever a type has, and a mask that keeps none, one or two of every four."""
    gen = data.generator(seed)
    out, in_ = shape
    wide = -(-in_ // 4) * 4
    mask = data.nm_mask(out, wide, 2, 4, gen) & data.random_mask(out, wide, 0.7, gen)
    weight = (data.integers(shape, gen) * 2 + 1).to(dtype)
    odd = [0, -128] if dtype == torch.int8 else [0.0, -0.0, float("inf"), float("nan")]
    for value in odd:
        weight[data.random_mask(out, in_, 0.1, gen)] = value
    if dtype != torch.int8:  # a signalling NaN with a payload
        weight.view(torch.int16)[0, 0] = -3 if dtype == torch.float16 else 0x7F81
    return weight, mask[:, :in_].contiguous()


def bits(values: Tensor) -> Tensor:
    return values.contiguous().view(torch.uint8)


def same(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        judge.exact(bits(one), bits(other))


@pytest.mark.parametrize(("format", "dtype", "layout"), KINDS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_byte_is_the_definitions(
    ops: PackingOps, format: str, dtype: torch.dtype, layout: str, shape: tuple[int, int]
) -> None:
    weight, mask = drawn(shape, dtype)
    packer = pairs(format)
    packed = packer.pack(weight, mask)
    same((packed.values, packed.index), packer.packed_by_torch(weight, mask))
    dense = packer.unpack(packed.values, packed.index)
    same((dense,), (packer.unpacked_by_torch(packed.values, packed.index),))
    same((dense,), (torch.where(mask, weight, torch.zeros_like(weight)),))
    assert ops.ran == [f"nm_pack_{layout}", f"nm_unpack_{layout}"]


@pytest.mark.parametrize(("format", "dtype", "layout"), KINDS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pruned_and_packed_at_once(
    ops: PackingOps, format: str, dtype: torch.dtype, layout: str, shape: tuple[int, int]
) -> None:
    gen = data.generator(3)
    weight = data.integers(shape, gen, dtype)  # of nine values: ties, and zeros
    weight[data.random_mask(*shape, 0.1, gen)] = -128 if dtype == torch.int8 else float("-inf")
    weight[data.random_mask(*shape, 0.1, gen)] = -0.0
    packer = pairs(format)
    packed = packer.pack_largest(weight)
    assert ops.ran == [f"nm_pack_{layout}"]
    same((packed.values, packed.index), packer.packed_by_torch(weight, None))
    wide = torch.nn.functional.pad(weight.float().abs(), (0, -shape[1] % 4))
    kept = keep_in_groups(wide.view(-1, 4), 2).view(wide.shape)[:, : shape[1]] & (weight != 0)
    same((packed.values, packed.index), packer.packed_by_torch(weight, kept))


@pytest.mark.parametrize(("format", "dtype", "layout"), FLOATS, ids=str)
def test_it_keeps_what_prune_keeps(
    ops: PackingOps, format: str, dtype: torch.dtype, layout: str
) -> None:
    layer = nn.Linear(136, 40, bias=False)
    layer.weight.data = data.integers((40, 136), data.generator()) * 2 + 1  # ties, and no zeros
    layer.to(dtype)
    at_once = pairs(format).pack_largest(layer.weight)
    sc.prune(layer, pattern="2:4")
    sparse = sc.SparseLinear.from_dense(layer, format=format)
    same((at_once.values, at_once.index), (sparse.values.detach(), sparse.index))
    judge.exact(sparse.weight, layer.weight.detach())
    assert [name.rpartition("_")[2] for name in ops.ran] == [layout] * 3


@pytest.mark.parametrize(("format", "dtype", "layout"), KINDS, ids=str)
def test_a_weight_may_lie_anyhow(
    ops: PackingOps, format: str, dtype: torch.dtype, layout: str
) -> None:
    weight, mask = drawn((40, 140), dtype)
    packer = pairs(format)
    wanted = packer.packed_by_torch(weight[:, 4:76].contiguous(), mask[:, 4:76].contiguous())
    across = (weight[:, 4:76].t().contiguous().t(), mask[:, 4:76].t().contiguous().t())
    odd, odd_mask = weight.new_zeros(40, 75), mask.new_zeros(40, 75)
    odd[:, 1:73], odd_mask[:, 1:73] = weight[:, 4:76], mask[:, 4:76]
    lying = [
        (weight[:, 4:76], mask[:, 4:76]),  # rows apart
        (odd[:, 1:73], odd_mask[:, 1:73]),  # and at no multiple of anything
        across,  # columns apart
        (weight[:, 4:76], across[1]),
        (nn.Parameter(weight[:, 4:76], requires_grad=False), mask[:, 4:76]),
    ]
    for each in lying:
        packed = packer.pack(*each)
        same((packed.values, packed.index), wanted)
    alike = packer.pack(weight[:1, :64].expand(32, 64), mask[:1, :64].expand(32, 64))  # one row
    row = weight[0, :64].masked_fill(~mask[0, :64], 0)
    same((packer.unpack(alike.values, alike.index)[7],), (row,))
    assert set(ops.ran) == {f"nm_pack_{layout}", f"nm_unpack_{layout}"}


def errors(*calls) -> list[str]:  # type: ignore[no-untyped-def]
    said = []
    for call in calls:
        with pytest.raises(ValueError) as raised:
            call()
        said.append(str(raised.value))
    return said


@pytest.mark.parametrize(("format", "dtype", "layout"), KINDS, ids=str)
@pytest.mark.parametrize("kept", [(0, 1, 2), (0, 2, 3), (0, 1, 2, 3)])
def test_three_of_four_are_refused_in_the_definitions_words(
    ops: PackingOps, format: str, dtype: torch.dtype, layout: str, kept: tuple[int, ...]
) -> None:
    weight, mask = drawn((40, 72), dtype)
    mask[37, 40:44] = False
    mask[37, [40 + place for place in kept]] = True
    packer = pairs(format)
    ours, theirs = errors(
        lambda: packer.pack(weight, mask), lambda: packer.packed_by_torch(weight, mask)
    )
    assert ours == theirs
    assert f"row 37, columns 40 to 43 keep {len(kept)} of 4; use the format 'csr'" in ours
    assert ops.ran == [f"nm_pack_{layout}"]


@pytest.mark.parametrize(("format", "dtype", "layout"), FLOATS, ids=str)
def test_a_nan_is_refused_where_magnitudes_are_ranked(
    ops: PackingOps, format: str, dtype: torch.dtype, layout: str
) -> None:
    weight = data.integers((40, 72), data.generator(), dtype)
    weight[9, 22] = float("-nan")
    packer = pairs(format)
    ours, theirs = errors(
        lambda: packer.pack_largest(weight), lambda: packer.packed_by_torch(weight, None)
    )
    assert ours == theirs
    assert f"{format}: weight is NaN at row 9, column 22, which has no magnitude" in ours
    assert ops.ran == [f"nm_pack_{layout}"]


@pytest.mark.parametrize(("format", "dtype", "layout"), KINDS, ids=str)
@pytest.mark.parametrize("nibble", [0x0, 0x1, 0x5, 0xA, 0xF])
def test_damaged_metadata_are_refused_in_the_definitions_words(
    ops: PackingOps, format: str, dtype: torch.dtype, layout: str, nibble: int
) -> None:
    packer = pairs(format)
    packed = packer.pack(*drawn((33, 72), dtype))
    index = packed.index.clone()
    index[HEADER_BYTES + 21] = index[HEADER_BYTES + 21] & 0xF0 | nibble
    ours, theirs = errors(
        lambda: packer.unpack(packed.values, index),
        lambda: packer.unpacked_by_torch(packed.values, index),
    )
    assert ours == theirs
    assert "names a position twice, or in falling order" in ours
    assert ops.ran[-1] == f"nm_unpack_{layout}"


@pytest.mark.parametrize(("format", "dtype", "layout"), KINDS, ids=str)
def test_fillers_that_were_trained_come_back(
    ops: PackingOps, format: str, dtype: torch.dtype, layout: str
) -> None:
    packer = pairs(format)
    packed = packer.pack(*drawn((33, 70), dtype))
    trained = torch.arange(packed.values.numel()).remainder(7).add(1).to(dtype)
    dense = packer.unpack(trained, packed.index)
    same((dense,), (packer.unpacked_by_torch(trained, packed.index),))
    assert int(dense.count_nonzero()) == packer.slots(dense != 0)
    assert ops.ran[-1] == f"nm_unpack_{layout}"


def test_a_gradient_goes_through_the_definition(ops: PackingOps) -> None:
    packer = pairs("semi_frag")
    weight = data.integers((33, 72), data.generator(), torch.float16)
    mask = data.nm_mask(33, 72, 2, 4, data.generator(1))
    packed = packer.pack(weight, mask)
    values = packed.values.clone().requires_grad_()
    grad = data.integers((33, 72), data.generator(2), torch.float16)
    packer.unpack(values, packed.index).backward(grad)
    assert values.grad is not None
    judge.exact(packer.unpack(values.grad, packed.index), grad * mask)
    with torch.no_grad():
        packer.unpack(values, packed.index)
    assert ops.ran == ["nm_pack_fragment24"] + ["nm_unpack_fragment24"] * 2


def test_what_no_kernel_takes_is_packed_by_torch(
    ops: PackingOps, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight, mask = drawn((33, 72), torch.float16)
    for format, dtype in (("semi", torch.float32), ("semi8", torch.float16)):
        packer = pairs(format)
        packed = packer.pack(weight.to(dtype), mask)
        same((packed.values, packed.index), packer.packed_by_torch(weight.to(dtype), mask))
        packer.unpack(packed.values, packed.index)
    monkeypatch.setattr(_library, "kernels", list)
    _library.of_op.cache_clear()
    pairs("semi").pack(weight, mask)
    assert ops.ran == []


def test_a_fault_that_torch_does_not_see_is_no_silence(
    ops: PackingOps, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight, mask = drawn((33, 72), torch.float16)
    launch = ops._launch

    def faulty(kernels, fields, dtype):  # type: ignore[no-untyped-def]
        launch(kernels, fields, dtype)
        fields["faults"].fill_(1)

    monkeypatch.setattr(ops, "_launch", faulty)
    with pytest.raises(RuntimeError, match="semi: the kernel found a fault that torch does not se"):
        pairs("semi").pack(weight, mask)
    with pytest.raises(RuntimeError, match="does not see in the weight"):
        pairs("semi").pack_largest(weight.nan_to_num())


def network() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(128, 64), nn.Linear(64, 64)).half()
    for layer in model:
        layer.weight.data = data.integers(layer.weight.shape, data.generator()).half() * 2 + 1
    sc.prune(model, pattern="2:4")
    return model


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "new_empty", fail)


def test_without_memory_nothing_is_changed_by_packing(ops: PackingOps, no_memory: None) -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(torch.OutOfMemoryError):
        sc.SparseLinear.from_dense(model[0], format="semi_frag")
    assert ops.ran == []
    assert [type(layer) for layer in model] == [nn.Linear] * 2
    for name, tensor in model.state_dict().items():
        judge.exact(tensor, before[name])


def test_without_memory_a_moved_layer_stands_in_its_old_format(
    ops: PackingOps, request: pytest.FixtureRequest
) -> None:
    sparse = sc.SparseLinear.from_dense(network()[0])
    x = data.integers((3, 128), data.generator(4), torch.float16)
    wanted, was = sparse(x), {name: t.clone() for name, t in sparse.state_dict().items()}
    assert sparse.format == "nm"
    request.getfixturevalue("no_memory")
    with pytest.raises(RuntimeError, match=r"no memory on cpu to repack .* 'nm' to 'semi_frag'"):
        sparse._settle("cuda")  # what .to("cuda") does once the tensors are there
    assert sparse.format == "nm"
    judge.exact(sparse(x), wanted)
    for name, tensor in sparse.state_dict().items():
        judge.exact(tensor, was[name])
    request.getfixturevalue("monkeypatch").undo()


@pytest.fixture
def converting(ops: PackingOps, monkeypatch: pytest.MonkeyPatch) -> PackingOps:
    """Pretend that weights lie on a small GPU for which every library is there."""
    small, ask = gpus.like("a small Ampere", 80, 7), registry.estimates
    monkeypatch.setattr(planning_gpu, "of", lambda layer: small)
    monkeypatch.setattr(registry, "estimates", lambda *a, **k: ask(*a, **{**k, "installed": False}))
    monkeypatch.setattr(verdicts, "VERDICTS", verdicts.Verdicts())
    return ops


def large() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(1024, 1024, bias=False)).half()
    model[0].weight.data = data.integers((1024, 1024), data.generator()).half() * 2 + 1
    sc.prune(model, pattern="2:4")
    return model


def test_convert_packs_by_the_kernel(converting: PackingOps) -> None:
    model = large()
    fast = sc.convert(model, rows=(1,), gate="model")
    assert isinstance(fast[0], sc.SparseLinear)
    assert set(converting.ran) >= {"nm_pack_fragment24"}
    judge.exact(fast[0].weight, model[0].weight.detach())
    assert converting.ran[-1] == "nm_unpack_fragment24"


@pytest.mark.parametrize("inplace", [False, True])
def test_without_memory_convert_leaves_the_model(
    converting: PackingOps, no_memory: None, inplace: bool
) -> None:
    model = large()
    layer, before = model[0], model[0].weight.detach().clone()
    with pytest.raises(torch.OutOfMemoryError):
        sc.convert(model, rows=(1,), gate="model", inplace=inplace)
    assert converting.ran == []
    assert model[0] is layer
    judge.exact(layer.weight.detach(), before)


@pytest.mark.parametrize("what", bench.WHAT)
def test_wrong_bytes_are_not_timed(
    ops: PackingOps, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def seconds(function, device):  # type: ignore[no-untyped-def]
        function()
        return 1e-3

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory\nand more")

    monkeypatch.setattr(clock, "seconds", seconds)
    line = bench.Line("any", 64, 128, "semi", what, 1.0, 1.0, 1.0)
    found = bench.measured(line, torch.device("cpu"))
    assert found.measured_s == 1e-3
    assert found.peer_s is None  # torch's own asks for a GPU, and says so
    assert found.note[:7] == ("" if what == "prune" else "torch: ")
    assert ops.ran
    monkeypatch.setattr(ops, "_launch", lambda *_: None)  # nothing is written
    assert bench.measured(line, torch.device("cpu")) == replace(line, note="WRONG")
    monkeypatch.setattr(ops, "_launch", full)
    assert bench.measured(line, torch.device("cpu")) == replace(line, note="out of memory")
    monkeypatch.setattr(_packing, "named", lambda *_: "")
    assert "built without CUDA" in bench.measured(line, torch.device("cpu")).note
