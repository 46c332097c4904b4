"""Layers on a GPU: moved there and back, converted there, captured in a graph, compiled."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.backends import verdicts
from tests.support import data, judge

PATTERNS = ["2:4", "8:32", None]


@pytest.fixture(autouse=True)
def no_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "VERDICTS", verdicts.Verdicts())


def layer(pattern: str | None, out: int = 96, in_: int = 128) -> tuple[nn.Linear, sc.SparseLinear]:
    linear = nn.Linear(in_, out)
    linear.weight.data = data.integers((out, in_), data.generator()).abs() + 1
    linear.bias.data = data.integers((out,), data.generator(1))
    sc.prune(linear, pattern=pattern) if pattern else sc.prune(linear, sparsity=0.7)
    linear = linear.half()
    return linear, sc.SparseLinear.from_dense(linear)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_layer_moves_there_and_back(pattern: str | None) -> None:
    _, sparse = layer(pattern)
    was, before = sparse.format, sparse.state_dict()
    x = data.integers((5, 128), data.generator(2), torch.float16)
    wanted = sparse(x)
    sparse.cuda()
    assert sparse.format != was
    judge.exact(sparse(x.cuda()).cpu(), wanted)
    for key, value in sparse.state_dict().items():
        judge.exact(value.cpu(), before[key])
    sparse.cpu()
    assert sparse.format == was
    judge.exact(sparse(x), wanted)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_gradients_are_those_of_the_cpu(pattern: str | None) -> None:
    _, sparse = layer(pattern)
    x = data.integers((5, 128), data.generator(2), torch.float16).requires_grad_()
    y = sparse(x)
    grad = data.integers(y.shape, data.generator(3), torch.float16)
    y.backward(grad)
    assert x.grad is not None
    there = x.detach().cuda().requires_grad_()
    sparse.zero_grad()
    sparse.cuda()(there).backward(grad.cuda())
    assert there.grad is not None
    judge.exact(there.grad.cpu(), x.grad)


def convolution() -> tuple[sc.SparseConv2d, torch.Tensor]:
    conv = nn.Conv2d(64, 96, 3, padding=1)
    conv.weight.data = data.integers(conv.weight.shape, data.generator()).abs() + 1
    conv.bias.data = data.integers((96,), data.generator(1))
    sc.prune(conv, pattern="2:4")
    sparse = sc.SparseConv2d.from_dense(conv.half())
    return sparse, data.integers((2, 64, 7, 6), data.generator(2), torch.float16)


def test_a_convolution_moves_there_and_back() -> None:
    sparse, x = convolution()
    wanted = sparse(x).detach()
    sparse.cuda()
    assert sparse.format == "semi_frag"
    for format in (torch.contiguous_format, torch.channels_last):
        y = sparse(x.cuda().contiguous(memory_format=format))
        assert y.is_contiguous(memory_format=format)
        judge.exact(y.detach().cpu().contiguous(), wanted)
    sparse.cpu()
    assert sparse.format == "nm"
    judge.exact(sparse(x).detach(), wanted)


def test_gradients_of_a_convolution_are_those_of_the_cpu() -> None:
    sparse, x = convolution()
    here, there = (x.to(device).requires_grad_() for device in ("cpu", "cuda"))
    y = sparse(here)
    grad = data.integers(y.shape, data.generator(3), torch.float16)
    y.backward(grad)
    sparse.zero_grad()
    sparse.cuda()(there).backward(grad.cuda())
    judge.exact(there.grad.cpu(), here.grad)


def test_a_convolution_is_captured_in_a_graph() -> None:
    sparse, x = convolution()
    sparse.cuda().requires_grad_(False)
    x = x.cuda()
    with torch.no_grad():
        wanted = sparse(x)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = sparse(x)
    graph.replay()
    judge.exact(y, wanted)


def test_converting_a_convolution_measures_both() -> None:
    model = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1)).half().cuda()
    sc.prune(model, pattern="2:4")
    x = torch.randn(8, 256, 14, 14, dtype=torch.float16, device="cuda")
    told = str(sc.explain(sc.convert(model, x)))
    assert "semi_frag_conv2d at 1568: measured" in told
    assert "cudnn at 1568: measured" in told


def test_converting_measures_and_explains() -> None:
    model = nn.Sequential(nn.Linear(4096, 4096, bias=False)).half().cuda()
    sc.prune(model, pattern="2:4")
    fast = sc.convert(model, rows=(1,))
    told = str(sc.explain(fast))
    assert "measured" in told
    assert "predicted" in told
    x = torch.randn(1, 4096, dtype=torch.float16, device="cuda")
    assert fast(x).shape == (1, 4096)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_call_is_captured_in_a_graph(pattern: str | None) -> None:
    _, sparse = layer(pattern)
    sparse.cuda()
    x = data.integers((1, 128), data.generator(2), torch.float16).cuda()
    with torch.no_grad():
        wanted = sparse(x)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = sparse(x)
    x.mul_(2)
    graph.replay()
    judge.exact(y - sparse.bias, 2 * (wanted - sparse.bias))


def test_compiled_whole() -> None:
    _, sparse = layer("2:4")
    sparse.cuda().requires_grad_(False)
    x = data.integers((4, 128), data.generator(2), torch.float16).cuda()
    compiled = torch.compile(sparse, fullgraph=True)
    judge.exact(compiled(x), sparse(x))


def test_no_rows_and_wrong_devices() -> None:
    _, sparse = layer("2:4")
    sparse.cuda()
    assert sparse(torch.zeros(0, 128, dtype=torch.float16, device="cuda")).shape == (0, 96)
    with pytest.raises((ValueError, RuntimeError), match=r"cuda|device"):
        sparse(torch.zeros(1, 128, dtype=torch.float16))
