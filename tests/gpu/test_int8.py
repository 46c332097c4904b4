"""int8 x by int8 2:4 weights on this GPU, exact to the integer."""

from __future__ import annotations

import pytest
import torch

from secateur.backends import cuda
from secateur.backends.cuda import _library, int8
from tests.support import judge
from tests.support.whole import whole

CUDA = torch.device("cuda", 0)
SHAPES = [(1, 64, 128), (9, 33, 80), (17, 130, 272), (65, 257, 520), (5, 35, 66), (300, 1024, 2048)]
ACTS = ("none", "relu", "relu6")


@pytest.fixture(autouse=True)
def kernels() -> None:
    if not int8.kernels(torch.zeros(1, 128, dtype=torch.int8, device=CUDA), 64):
        pytest.skip(f"no product of int8: {cuda.why_not() or 'the GPU is too old'}")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_kernel_is_exact(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = whole(shape, CUDA, fused=True, act=ACTS[shape[0] % 3])
    names = int8.kernels(one.x, shape[1]).split(",")
    for name in names if shape[2] % 16 == 0 else ["nm_linear_sm80_s8_anywhere"]:
        monkeypatch.setattr(_library, "named", lambda *_, only=name: only)
        y = int8.product(*one.call)
        judge.exact_truth(y.cpu(), one.truth())
        judge.exact(y, int8.defined(*one.call))


def test_no_rows_and_rows_that_lie_anywhere() -> None:
    none = whole((0, 40, 128), CUDA, fused=True)
    assert int8.product(*none.call).shape == (0, 40)
    one = whole((9, 40, 128), CUDA)
    wide = torch.full((9, 199), -1, dtype=torch.int8, device=CUDA)
    wide[:, 33:161] = one.x
    for x in (wide[:, 33:161], one.x.t().contiguous().t()):
        y = int8.product(x, None, one.packed, one.scale)
        judge.exact_truth(y.cpu(), one.truth())


def test_x_is_rounded_as_on_the_cpu_and_a_call_is_captured_in_a_graph() -> None:
    one = whole((8, 64, 256), CUDA)
    x = torch.randn(8, 256, generator=torch.Generator().manual_seed(0))
    x[2, 3], x[4] = float("nan"), 0
    there = x.to(CUDA)
    for found, wanted in zip(int8.quantize_rows(there), int8.quantize_rows(x), strict=True):
        judge.exact(found.cpu().nan_to_num(7), wanted.nan_to_num(7))
    wanted = int8.product(*int8.quantize_rows(there), one.packed, one.scale)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = int8.product(*int8.quantize_rows(there), one.packed, one.scale)
    graph.replay()
    judge.exact(y.nan_to_num(7), wanted.nan_to_num(7))
    assert bool(y[2].isnan().all())
