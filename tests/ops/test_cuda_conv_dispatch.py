"""The CUDA implementation of the convolution ops, called by hand on CPU tensors.

Which candidate a call gets, how it is called, what is checked and remembered. A candidate of ours
is emulated by the op's definition; cuDNN's runs as it is, torch knows other devices too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import secateur as sc
from secateur import ops
from secateur.backends import gpus, registry, verdicts
from secateur.backends.candidates import CANDIDATES, DENSE, Candidate, Operands
from secateur.formats import FORMATS
from secateur.nn import packing
from secateur.ops import _cuda, _cuda_conv
from tests.support import data, gpu_conv, judge
from tests.support.cuda.convolved import CASES, Case

A100 = gpus.known("A100-SXM4-80GB")
RESNET = Case((2, 64, 6, 5), 64, stride=(2, 1), act="relu", residual="first")


class Emulated:
    """Stands for the kernels: runs the definition, and writes down who was called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def run(self, candidate: Candidate, run: Any, call: Operands) -> Tensor:
        self.called.append(candidate.name)
        if candidate.format == DENSE:
            y: Tensor = run(call)
            return y
        conv = call.convolution
        assert conv is not None
        op = getattr(ops, f"{candidate.format}_conv2d")
        return op.reference(  # type: ignore[no-any-return]
            *(call.x, call.values, call.index, call.bias, call.residual),
            out_channels=call.out_features,
            kernel_size=conv.kernel_size,
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
            groups=conv.groups,
            act=call.act,
            residual_first=call.residual_first,
        )


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    """A machine with an A100 and everything installed, whose kernels are the definition."""
    found, ask = Emulated(), registry.estimates
    for name in CANDIDATES.names():
        candidate = CANDIDATES.get(name)
        patched = copy.copy(candidate)
        emulate = lambda call, c=candidate: found.run(c, c.run, call)  # noqa: E731
        object.__setattr__(patched, "run", emulate)
        monkeypatch.setitem(CANDIDATES._things, name, patched)
    monkeypatch.setattr(gpus, "of", lambda index: A100)
    monkeypatch.setattr(registry, "estimates", lambda *a, **k: ask(*a, **{**k, "installed": False}))
    monkeypatch.setattr(verdicts, "VERDICTS", verdicts.Verdicts())
    monkeypatch.setattr(_cuda, "_DECIDED", {})
    yield found


def options(case: Case) -> dict[str, Any]:
    conv = gpu_conv.convolution(case)
    return {
        "out_channels": case.out,
        "kernel_size": conv.kernel_size,
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
        "act": case.act,
        "residual_first": case.residual == "first",
    }


def call(case: Case) -> tuple[gpu_conv.Made, tuple[Tensor | None, ...]]:
    made = gpu_conv.make(case, torch.device("cpu"))
    o = made.operands
    return made, (o.x, o.values, o.index, o.bias, o.residual)


@pytest.mark.parametrize("case", [*CASES.values(), RESNET], ids=[*CASES, "resnet"])
def test_every_call_is_right_with_and_without_a_dense_copy(emulated: Emulated, case: Case) -> None:
    made, tensors = call(case)
    for dense in (None, made.operands.dense):
        y = ops.semi_frag_conv2d.cuda(*tensors, dense=dense, **options(case))
        judge.exact_truth(y, made.truth)
        assert y.dtype == torch.float16
        assert y.is_contiguous(memory_format=torch.channels_last)


def test_the_model_says_which_of_sparse_and_dense_runs(emulated: Emulated) -> None:
    for case, wanted in ((RESNET, "cudnn"), (Case((8, 64, 28, 28), 256), "semi_frag_conv2d")):
        made, tensors = call(case)
        emulated.called.clear()
        ops.semi_frag_conv2d.cuda(*tensors, dense=made.operands.dense, **options(case))
        ops.semi_frag_conv2d.cuda(*tensors, **options(case))
        assert emulated.called == [wanted, "semi_frag_conv2d"]


def test_measured_times_decide_where_there_are_any(
    emulated: Emulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, tensors = call(RESNET)
    shape = {"dense": made.operands.dense, **options(RESNET)}
    ops.semi_frag_conv2d.cuda(*tensors, **shape)
    table = verdicts.Verdicts()
    monkeypatch.setattr(verdicts, "VERDICTS", table)
    monkeypatch.setattr(_cuda, "VERDICTS", table)
    header = _cuda._header(made.operands.index)
    asked = _cuda_conv.problem(_cuda_conv.ConvCall(*tensors, **options(RESNET)), header)
    assert A100 is not None
    where, key = verdicts.machine(A100, registry.versions()), verdicts.key("semi_frag", asked)
    table.keep(where, key, {"cudnn": 3e-6, "semi_frag_conv2d": 1e-6})
    ops.semi_frag_conv2d.cuda(*tensors, **shape)
    assert emulated.called == ["cudnn", "semi_frag_conv2d"]


def test_geometry_is_part_of_what_is_remembered(emulated: Emulated) -> None:
    keys = set()
    plain = Case((2, 64, 6, 6), 64)
    for change in ({}, {"stride": (2, 2)}, {"padding": (0, 0, 1, 1)}, {"dilation": (1, 2)}):
        case = Case(**{**plain.__dict__, **change})
        made, tensors = call(case)
        judge.exact_truth(ops.semi_frag_conv2d.cuda(*tensors, **options(case)), made.truth)
        keys.add(verdicts.key("semi_frag", made.problem))
    assert len(keys) == len(_cuda._DECIDED) == 4


def test_a_second_call_asks_nobody(emulated: Emulated, monkeypatch: pytest.MonkeyPatch) -> None:
    _, tensors = call(RESNET)
    ops.semi_frag_conv2d.cuda(*tensors, **options(RESNET))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(registry, "pick", never)
    monkeypatch.setattr(_cuda, "Header", None)  # on a GPU, to read one would wait for the device
    ops.semi_frag_conv2d.cuda(*tensors, **options(RESNET))
    with pytest.raises(AssertionError, match="asked again"):
        ops.semi_frag_conv2d.cuda(*tensors, **{**options(RESNET), "act": "silu"})


def test_wrong_tensors_are_named_before_a_kernel_sees_them(emulated: Emulated) -> None:
    _, (x, values, index, bias, residual) = call(RESNET)
    ops.semi_frag_conv2d.cuda(x, values, index, bias, residual, **options(RESNET))
    mask = torch.ones(64, 576, dtype=torch.bool)
    mask[:, ::2] = False
    other = FORMATS.get("semi").pack(torch.ones(64, 576).half(), mask).index
    assert other.shape == index.shape
    wrong = {
        "another format": (x, values, other, bias, residual),
        "at least": (x, values[:40], index, bias, residual),
        "residual must be": (x, values, index, bias, residual[:, :1]),
        "features but the weight expects": (x[:, :32], values, index, bias, residual),
    }
    for words, tensors in wrong.items():
        with pytest.raises(ValueError, match=words):
            ops.semi_frag_conv2d.cuda(*tensors, **options(RESNET))
    assert emulated.called == ["semi_frag_conv2d"]


def test_what_no_candidate_takes_runs_the_definition(emulated: Emulated) -> None:
    case = Case((2, 12, 5, 6), 16)  # of 12 channels
    made, tensors = call(case)
    judge.exact_truth(ops.semi_frag_conv2d.cuda(*tensors, **options(case)), made.truth)
    assert not emulated.called
    dense = made.operands.dense
    judge.exact_truth(ops.semi_frag_conv2d.cuda(*tensors, dense=dense, **options(case)), made.truth)
    assert emulated.called == ["cudnn"]


def test_nothing_of_no_pixels(emulated: Emulated) -> None:
    _, (x, values, index, bias, _) = call(RESNET)
    plain = {**options(RESNET), "residual_first": False, "padding": (0, 0, 0, 0)}
    assert ops.semi_frag_conv2d.cuda(x[:0], values, index, bias, **plain).shape[0] == 0
    thin = ops.semi_frag_conv2d.cuda(x[:, :, :1], values, index, bias, **plain)
    assert thin.shape == (2, 64, 0, 3)
    assert not emulated.called


def test_other_formats_take_the_dense_copy_or_the_definition(emulated: Emulated) -> None:
    case = Case((2, 16, 5, 6), 32)
    made, (x, _, _, bias, residual) = call(case)
    weight = made.operands.dense
    assert weight is not None
    matrix = weight.movedim(1, -1).flatten(1)
    packed = FORMATS.get("nm").pack(matrix, matrix != 0)
    for dense in (None, weight):
        y = ops.nm_conv2d.cuda(
            *(x, packed.values, packed.index, bias, residual), dense=dense, **options(case)
        )
        judge.exact_truth(y, made.truth)
    assert emulated.called == ["cudnn"]


@pytest.mark.parametrize("kind", [sc.SparseConv2d, sc.SparseConv1d])
def test_a_layer_settles_on_a_gpu_and_back(kind: type[sc.SparseConv2d]) -> None:
    """What .to("cuda") does after the tensors have moved; here they have not."""
    dims = 2 if kind is sc.SparseConv2d else 1
    conv = (torch.nn.Conv2d if dims == 2 else torch.nn.Conv1d)(16, 32, 3, padding=1)
    sc.prune(conv, pattern="2:4", targets=[type(conv)])
    layer = kind.from_dense(conv)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    x = data.reals((2, 16, *(7, 6)[:dims]), data.generator())
    y, parameter = layer(x), layer.values
    layer._settle("cuda")
    assert layer.format == "semi_frag"
    assert layer.op == "semi_frag_conv2d"
    assert layer.values is parameter
    judge.exact(layer.weight, conv.weight.detach())
    for key, value in layer.state_dict().items():
        judge.exact(value, before[key])
    other = copy.deepcopy(layer)
    other.load_state_dict(before)
    assert other.format == "semi_frag"
    judge.exact(other(x), layer(x))
    layer._settle("cpu")
    assert layer.format == "nm"
    judge.exact(layer(x), y)


@pytest.mark.parametrize(
    ("out", "groups", "sparsity", "why"),
    [(48, 2, None, "its tiles would have rows of two of the 2 groups"), (32, 1, 0.3, "of 4")],
)
def test_a_layer_that_fits_no_format_there_keeps_its_own(
    out: int, groups: int, sparsity: float | None, why: str
) -> None:
    conv = torch.nn.Conv2d(16, out, 3, groups=groups)
    sc.prune(conv, sparsity=sparsity) if sparsity else sc.prune(conv, pattern="2:4")
    layer = sc.SparseConv2d.from_dense(conv)
    was = layer.format
    layer._settle("cuda")
    assert layer.format == was
    assert packing.convolving_on_gpu(layer.mask, groups) == []
    assert why in str(packing.unfit_on_gpu(layer.mask, groups)["semi_frag"])
