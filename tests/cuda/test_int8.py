"""int8 x by int8 2:4 weights, from Python to every kernel's source on the emulated GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import secateur as sc
from benchmarks.gpu import int8 as bench
from secateur.backends import clock, cuda
from secateur.backends.cuda import _library, int8
from secateur.backends.cuda._library import Kernel
from secateur.formats import FORMATS, Packed
from tests.support import data, judge, truth
from tests.support.cuda.bound import Bound
from tests.support.whole import whole

SHAPES = [(1, 64, 128), (9, 33, 80), (17, 130, 272)]  # rows, out, in: on tiles, and off them
EXACT = ("none", "relu", "relu6")


def family() -> list[Kernel]:
    return [k for k in _library.family(int8.LAYOUT, "") if k.types == ("i8",)]


def test_a_packed_weight_reaches_every_kernel_rightly(
    bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(family()) >= 4
    for kernel in family():
        monkeypatch.setattr(_library, "named", lambda *_, only=kernel.name: only)
        for shape in SHAPES:
            one = whole(shape, fused=shape[0] > 1, act="relu")
            y = int8.product(*one.call)
            judge.exact_truth(y, one.truth())
            judge.exact(y, int8.defined(*one.call))
            assert bound.ran[-1] == kernel.name


@pytest.mark.parametrize("act", judge.ACTIVATIONS)
def test_every_activation(bound: Bound, act: str) -> None:
    one = whole((9, 40, 144), fused=True, act=act)
    y = int8.product(*one.call)
    assert len(bound.ran) == 1
    judge.within_bound(y, one.truth())
    judge.within_bound(int8.defined(*one.call), one.truth())
    if act in EXACT:
        judge.exact(y, int8.defined(*one.call))


def test_each_argument_that_may_be_left_out(bound: Bound) -> None:
    one = whole((5, 40, 128), fused=True)
    for name in ("x_scale", "bias", "residual"):
        less = replace(one, **{name: None})
        judge.exact_truth(int8.product(*less.call), less.truth())
    bare = whole((5, 40, 128))
    judge.exact_truth(int8.product(bare.x, None, bare.packed, bare.scale), bare.truth())
    assert len(bound.ran) == 4


def test_sums_beyond_what_floats_count_are_those_of_int32(bound: Bound) -> None:
    one = whole((3, 33, 4096))
    weight = torch.full_like(one.weight, 127)
    x = torch.full_like(one.x, 127)
    x[:, ::7], x[1] = 1, -128
    one = replace(one, weight=weight, x=x, packed=FORMATS.get("semi8").pack(weight, one.mask))
    wanted = one.truth()
    assert float(wanted.y.abs().max()) > 2**24
    judge.exact_truth(int8.product(*one.call), wanted)
    judge.exact_truth(int8.defined(*one.call), wanted)
    assert len(bound.ran) == 1


@pytest.mark.parametrize("in_", [1, 7, 66, 129])
def test_columns_that_end_anywhere(bound: Bound, in_: int) -> None:
    one = whole((5, 35, in_), fused=True)
    judge.exact_truth(int8.product(*one.call), one.truth())
    assert bound.ran == ["nm_linear_sm80_s8_anywhere"]


def test_operands_may_lie_anyhow(bound: Bound) -> None:
    one = whole((9, 40, 128), fused=True)
    assert one.residual is not None and one.bias is not None
    wide = torch.full((9, 199), -1, dtype=torch.int8)
    wide[:, 33:161] = one.x
    wanted = one.truth()
    for x in (wide[:, 33:161], one.x.t().contiguous().t()):
        lying = replace(
            one,
            x=x,
            bias=one.bias.half().repeat_interleave(2)[::2],
            residual=one.residual.t().contiguous().t(),
            scale=one.scale.repeat_interleave(3)[::3],
        )
        judge.exact_truth(int8.product(*lying.call), wanted)
    same = replace(one, x=one.x[:1].expand(9, -1))
    judge.exact_truth(int8.product(*same.call), same.truth())
    assert len(bound.ran) == 3


def test_no_rows(bound: Bound) -> None:
    one = whole((0, 40, 128), fused=True)
    for y in (int8.product(*one.call), int8.defined(*one.call)):
        assert y.shape == (0, 40) and y.dtype == torch.float32
    x, x_scale = int8.quantize_rows(torch.zeros(0, 128))
    assert x.shape == (0, 128) and x_scale.shape == (0,)


def test_the_binding_takes_what_the_kernels_write(bound: Bound) -> None:
    one = whole((3, 40, 128), fused=True)
    rest = (one.scale, one.x_scale, 40, 64, 128, "none")
    weight = (one.packed.values, one.packed.index, int8.HEADER_BYTES, None)
    assert one.residual is not None
    run, name = torch.ops.secateur.cuda_nm_linear, family()[0].name
    assert run(name, one.x, *weight, one.residual, *rest).dtype == torch.float32
    with pytest.raises(AssertionError, match=r"wanted torch.float32, got torch.int8"):
        run(name, one.x, *weight, one.residual.to(torch.int8), *rest)
    with pytest.raises(AssertionError, match="x_scale goes with int8 x"):
        run("nm_linear_sm80_64x64", one.x.half(), *weight, None, *rest)


def test_a_quantized_layer_and_a_row_that_is_no_number(bound: Bound) -> None:
    layer = torch.nn.Linear(144, 40)
    layer.weight.data = data.reals((40, 144), data.generator())
    sc.prune(layer, pattern="2:4")
    sparse = sc.SparseLinear.from_dense(layer, format="semi8").store(torch.int8)
    assert sparse.scale is not None
    packed = Packed("semi8", sparse.values, sparse.index, 144, 40)
    x = data.reals((6, 144), data.generator(1))
    x8, x_scale = int8.quantize_rows(x)
    y = int8.product(x8, x_scale, packed, sparse.scale, layer.bias)
    assert not y.requires_grad
    kept = sparse.weight.detach() != 0
    rounding = x_scale[:, None].double() / 2 * (sparse.weight.detach().double().abs().sum(1))
    wanted = truth.linear(x, sparse.weight.detach(), kept, layer.bias.detach())
    assert bool(((y - wanted.y).abs() <= rounding * (1 + 1e-5) + 1e-5).all())
    x[2, 5], x[4, 7] = float("inf"), float("nan")
    again = int8.product(*int8.quantize_rows(x), packed, sparse.scale, layer.bias, act="relu")
    odd = torch.tensor([False, False, True, False, True, False])
    assert bool(again[odd].isnan().all())
    judge.exact(again[~odd], torch.relu(y[~odd]))
    assert len(bound.ran) == 2


def test_wrong_bits_are_not_timed(bound: Bound, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def seconds(function, device):  # type: ignore[no-untyped-def]
        timed.append(function())
        return 1e-3

    monkeypatch.setattr(clock, "seconds", seconds)
    line = bench.Line("any", 64, 128, 70, 1.0, 1.0)
    found = bench.measured(line, torch.device("cpu"))
    assert found.measured_s == found.dense_s == 1e-3
    assert found.torch_s is None and found.note.startswith("torch: ")  # it asks for a GPU
    ours, sums = timed
    assert ours.shape == (70, 64) and sums.dtype == torch.int32
    assert bool(((ours[0] != 0) == (sums[0] != 0)).all())
    monkeypatch.setattr(bound, "run", lambda *_: torch.zeros(70, 64))
    assert bench.measured(line, torch.device("cpu")) == replace(line, note="WRONG")
    monkeypatch.setattr(int8, "kernels", lambda *_: "")
    monkeypatch.setattr(cuda, "why_not", lambda: "it was built without CUDA")
    assert "built without CUDA" in bench.measured(line, torch.device("cpu")).note
