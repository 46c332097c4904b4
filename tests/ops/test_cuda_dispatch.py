"""The CUDA implementation of the linear ops, called by hand on CPU tensors.

What is tested here is everything but the kernels: which candidate a call gets, how it is called,
what is checked and remembered. A candidate is emulated by the op's definition; no CUDA runs.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import secateur as sc
from secateur import ops
from secateur.backends import gpus, registry
from secateur.backends.beside import held
from secateur.backends.candidates import CANDIDATES, DENSE, Candidate, Operands, candidates
from secateur.formats import FORMATS
from secateur.nn import packing
from secateur.ops import _cuda, _reference
from secateur.ops._call import Call
from tests.support import data, judge, truth

FORMATS_ON_GPU = ["semi", "semi_frag", "lb32", "n32"]
A100 = gpus.known("A100-SXM4-80GB")
H100 = gpus.known("H100")


class Emulated:
    """Stands for the kernels: runs the definition, and writes down who was called."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.operands: list[Operands] = []

    def run(self, candidate: Candidate, call: Operands) -> Tensor:
        self.called.append(candidate.name)
        self.operands.append(call)
        if candidate.format == DENSE:
            assert call.dense is not None
            return torch.nn.functional.linear(call.x, call.dense, call.bias)
        act, residual = (call.act, call.residual) if candidate.fused else ("none", None)
        whole = Call(
            x=call.x,
            values=call.values,
            index=call.index,
            bias=call.bias,
            residual=residual,
            scale=call.scale,
            out_features=call.out_features,
            act=act,
        )
        return _reference.linear(FORMATS.get(candidate.format), whole)


@pytest.fixture(params=[A100, H100], ids=["A100", "H100"])
def emulated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    """A machine with that GPU and everything installed, whose kernels are the definition."""
    found, ask = Emulated(), registry.estimates
    for name in CANDIDATES.names():
        candidate = CANDIDATES.get(name)
        patched = copy.copy(candidate)
        object.__setattr__(patched, "run", lambda call, c=candidate: found.run(c, call))
        monkeypatch.setitem(CANDIDATES._things, name, patched)
    monkeypatch.setattr(gpus, "of", lambda index: request.param)
    monkeypatch.setattr(registry, "estimates", lambda *a, **k: ask(*a, **{**k, "installed": False}))
    monkeypatch.setattr(_cuda, "_DECIDED", {})
    yield found


def case(
    format: str, rows: tuple[int, ...], out: int, in_: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, weight, mask, bias: whole numbers in float16, whose sums are exact in float32."""
    gen = data.generator()
    mask = data.mask_for(format, out, in_, gen)
    weight = data.integers((out, in_), gen, torch.float16) / 4
    return data.integers((*rows, in_), gen, torch.float16), weight, mask, torch.ones(out).half()


@pytest.mark.parametrize("format", FORMATS_ON_GPU)
def test_the_picked_candidate_is_called_and_its_answer_is_the_ops(
    emulated: Emulated, format: str
) -> None:
    op = getattr(ops, f"{format}_linear")
    for rows in ((), (0,), (1,), (2, 3)):
        x, weight, mask, bias = case(format, rows, 80, 160)
        packed = FORMATS.get(format).pack(weight, mask)
        residual = data.integers((*rows, 80), data.generator(3), torch.float16)
        emulated.called.clear()
        y = op.cuda(x, packed.values, packed.index, bias, residual, out_features=80, act="relu")
        judge.exact_truth(y, truth.linear(x, weight, mask, bias, residual, "relu"))
        assert y.dtype == torch.float16
        names = {candidate.name for candidate in candidates(format)}
        assert len(emulated.called) == (0 if rows == (0,) else 1)
        assert set(emulated.called) <= names


def test_a_residual_of_another_type_is_added_after_the_kernel(emulated: Emulated) -> None:
    x, weight, mask, bias = case("semi_frag", (3,), 80, 160)
    packed = FORMATS.get("semi_frag").pack(weight, mask)
    residual = data.integers((3, 80), data.generator(3))
    call = (x, packed.values, packed.index, bias, residual)
    y = ops.semi_frag_linear.cuda(*call, out_features=80, act="relu")
    judge.exact_truth(y, truth.linear(x, weight, mask, bias, residual, "relu"))
    assert y.dtype == torch.float16
    given = emulated.operands[-1]
    assert (given.residual, given.act) == (None, "none")


def test_dense_runs_where_the_model_says_so_and_a_copy_is_there(emulated: Emulated) -> None:
    x, weight, mask, bias = case("semi_frag", (1,), 128, 128)
    packed = FORMATS.get("semi_frag").pack(weight, mask)
    dense = weight.masked_fill(~mask, 0)
    call = (x, packed.values, packed.index, bias)
    with_copy = ops.semi_frag_linear.cuda(*call, dense=dense, out_features=128, act="relu")
    without = ops.semi_frag_linear.cuda(*call, out_features=128, act="relu")
    assert emulated.called[0] == "cublas"
    assert emulated.called[1] != "cublas"
    judge.exact(with_copy, without)


def test_strided_x_is_handed_over_as_rows(emulated: Emulated) -> None:
    x, weight, mask, _ = case("semi_frag", (6,), 64, 64)
    packed = FORMATS.get("semi_frag").pack(weight, mask)
    wanted = truth.linear(x, weight, mask)
    for view in (
        x.T.contiguous().T,
        x.repeat_interleave(2, 1)[:, ::2],
        torch.cat([x, x], 1)[:, :64],
    ):
        y = ops.semi_frag_linear.cuda(view, packed.values, packed.index, out_features=64)
        judge.exact_truth(y, wanted)
        given = emulated.operands[-1].x
        assert given.stride(1) == 1
    expanded = ops.semi_frag_linear.cuda(
        x[:1].expand(6, -1), packed.values, packed.index, out_features=64
    )
    judge.exact_truth(expanded, truth.linear(x[:1].expand(6, -1), weight, mask))


def test_a_second_call_asks_nobody(emulated: Emulated, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, mask, _ = case("semi_frag", (1,), 64, 64)
    packed = FORMATS.get("semi_frag").pack(weight, mask)
    ops.semi_frag_linear.cuda(x, packed.values, packed.index, out_features=64)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(registry, "pick", never)
    monkeypatch.setattr(_cuda, "Header", None)  # on a GPU, to read one would wait for the device
    ops.semi_frag_linear.cuda(x, packed.values, packed.index, out_features=64)
    with pytest.raises(AssertionError, match="asked again"):
        ops.semi_frag_linear.cuda(x[:0], packed.values, packed.index, out_features=64)


BAD = {
    "another format's index": (lambda p, o: (p.values, o.index), ValueError, "another format"),
    "values cut short": (lambda p, o: (p.values[:40], p.index), ValueError, "at least"),
    "an index of floats": (lambda p, o: (p.values, p.index.float()), TypeError, "must be uint8"),
}


@pytest.mark.parametrize("what", BAD)
def test_wrong_tensors_are_named_before_a_kernel_sees_them(emulated: Emulated, what: str) -> None:
    spoil, error, words = BAD[what]
    x, weight, mask, _ = case("semi_frag", (1,), 64, 64)
    packed = FORMATS.get("semi_frag").pack(weight, mask)
    other = FORMATS.get("lb32").pack(weight, mask)
    ops.semi_frag_linear.cuda(x, packed.values, packed.index, out_features=64)
    with pytest.raises(error, match=words):
        ops.semi_frag_linear.cuda(x, *spoil(packed, other), out_features=64)
    assert len(emulated.called) == 1


def test_an_index_of_the_right_length_of_another_format_is_refused_on_every_call(
    emulated: Emulated,
) -> None:
    x, weight, mask, _ = case("semi_frag", (1,), 64, 64)
    packed = FORMATS.get("semi_frag").pack(weight, mask)
    theirs = FORMATS.get("semi").pack(weight, mask)
    assert theirs.index.shape == packed.index.shape
    ops.semi_frag_linear.cuda(x, packed.values, packed.index, out_features=64)
    with pytest.raises(ValueError, match="another format"):
        ops.semi_frag_linear.cuda(x, packed.values, theirs.index, out_features=64)


def test_what_no_candidate_takes_runs_the_definition(emulated: Emulated) -> None:
    gen = data.generator()
    mask = data.mask_for("semi_frag", 16, 60, gen)
    weight, x = data.integers((16, 60), gen), data.integers((3, 60), gen)
    packed = FORMATS.get("semi_frag").pack(weight, mask)
    y = ops.semi_frag_linear.cuda(x, packed.values, packed.index, out_features=16)
    judge.exact_truth(y, truth.linear(x, weight, mask))  # float32, and in_features off the tile
    assert not emulated.called


def test_cusparselt_reads_its_own_buffer_and_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from secateur.backends.vendor import cusparselt

    x, weight, mask, bias = case("semi", (5,), 64, 128)
    packed = FORMATS.get("semi").pack(weight, mask)
    searched, right = [], [True]

    def product(compressed: Tensor, b: Tensor, bias: Tensor | None = None, **_: object) -> Tensor:
        y = (compressed.float() @ b.float()).T + (0 if bias is None else bias.float())
        return (y if right[0] else y + 1).to(b.dtype)

    monkeypatch.setattr(torch, "_cslt_compress", lambda dense: dense.clone())
    monkeypatch.setattr(torch, "_cslt_sparse_mm", product)
    monkeypatch.setattr(torch, "_cslt_sparse_mm_search", lambda *a, **k: searched.append(1) or 3)
    monkeypatch.setattr(cusparselt, "_ALGORITHMS", {})
    call = Operands(x, packed.values, packed.index, bias, None, None, None, 64, "none")
    for _ in range(2):
        judge.exact_truth(cusparselt.run("semi", call), truth.linear(x, weight, mask, bias))
    assert len(searched) == 1
    assert held(packed.values) == 64 * 128 * 2
    layer = sc.SparseLinear(packed, bias, trains=False)
    bare = layer.nbytes
    cusparselt.run("semi", replace(call, values=layer.values))
    assert layer.nbytes == bare + 64 * 128 * 2
    row = next(row for row in sc.explain(torch.nn.Sequential(layer)).rows if row.layer == "0")
    assert row.bytes_now == layer.nbytes - bias.nbytes
    right[0] = False
    monkeypatch.setattr(cusparselt, "_ALGORITHMS", {})
    with pytest.raises(RuntimeError, match="algorithm 3 gives a wrong product"):
        cusparselt.run("semi", call)


def test_torchs_own_product_gets_its_own_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.sparse._semi_structured_conversions import sparse_semi_structured_to_dense_cutlass

    from secateur.backends.vendor import torch_semi

    x, weight, mask, bias = case("semi", (5,), 64, 128)
    packed = FORMATS.get("semi").pack(weight, mask)

    def theirs(x: Tensor, values: Tensor, meta: Tensor, bias: Tensor | None) -> Tensor:
        assert len(x) == 8
        return torch.nn.functional.linear(
            x, sparse_semi_structured_to_dense_cutlass(values, meta), bias
        )

    monkeypatch.setattr(torch, "_sparse_semi_structured_linear", theirs)
    call = Operands(x, packed.values, packed.index, bias, None, None, None, 64, "none")
    judge.exact_truth(torch_semi.run(call), truth.linear(x, weight, mask, bias))


@pytest.mark.parametrize(
    ("pattern", "format"), [("2:4", "semi_frag"), ("8:32", "n32"), (None, "lb32")]
)
def test_a_layer_settles_on_a_gpu_and_back(pattern: str | None, format: str) -> None:
    """What .to("cuda") does after the tensors have moved; here they have not."""
    linear = torch.nn.Linear(128, 48)
    if pattern is None:
        sc.prune(linear, sparsity=0.7)
    else:
        sc.prune(linear, pattern=pattern)
    layer = sc.SparseLinear.from_dense(linear)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    parameter, was = layer.values, layer.format
    x = data.reals((3, 128), data.generator())
    y = layer(x)
    layer._settle("cuda")
    assert layer.format == format
    assert layer.values is parameter
    judge.exact(layer.weight, linear.weight.detach())
    for key, value in layer.state_dict().items():
        judge.exact(value, before[key])
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), _saved(layer)):
        assert other.format == format
        judge.exact(other(x), layer(x))
        other.load_state_dict(before)
        judge.exact(other.weight, layer.weight)
    layer._settle("cuda")
    assert layer.format == format
    layer._settle("cpu")
    assert layer.format == was
    judge.exact(layer(x), y)


def _saved(layer: sc.SparseLinear) -> sc.SparseLinear:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    loaded: sc.SparseLinear = torch.load(file, weights_only=False)
    return loaded


def test_no_memory_to_repack_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    linear = torch.nn.Linear(64, 32)
    sc.prune(linear, pattern="2:4")
    layer = sc.SparseLinear.from_dense(linear)

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(packing, "pack", full)
    with pytest.raises(RuntimeError, match=r"no memory on cpu to repack a weight \[32, 64\] from"):
        layer._settle("cuda")
    assert layer.format == "nm"
    judge.exact(layer.weight, linear.weight.detach())
