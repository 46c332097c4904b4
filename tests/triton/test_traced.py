"""What torch.compile sees of the Triton kernels: the kernels themselves, not a black box."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="triton is not installed")

from torch._dynamo.backends.common import aot_autograd

from secateur.backends.triton import _traced
from secateur.formats import Header, Packed
from secateur.formats.bsr import Bsr
from secateur.formats.bsr_index import bsr_index
from secateur.formats.nm import Nm
from tests.support import data

pytestmark = pytest.mark.filterwarnings("ignore:Encountered an exception in identify_mutated")


class _Seen(Exception):
    pass


def compiled(function: Any, *tensors: Tensor) -> list[str]:
    """Return the targets of the graph that a compiler backend is given for `function`."""
    targets: list[str] = []

    def look(graph: torch.fx.GraphModule, _: Any) -> Any:
        targets.extend(str(node.target) for node in graph.graph.nodes)
        raise _Seen

    torch._dynamo.reset()
    run = torch.compile(function, backend=aot_autograd(fw_compiler=look), fullgraph=True)
    with torch.no_grad(), pytest.raises(Exception, match="_Seen"):
        run(*tensors)
    return targets


def kernels(targets: list[str]) -> int:
    return sum("triton_kernel_wrapper" in target for target in targets)


def test_blocks() -> None:
    gen = data.generator()
    mask = data.block_mask(64, 96, 16, 16, gen)
    packed: Packed = Bsr(16, 16).pack(data.integers((64, 96), gen), mask)
    strips = bsr_index(packed.index)

    def function(x: Tensor, values: Tensor, *strips: Tensor) -> Tensor:
        y = _traced.triton_bsr(x * 2, values, *strips, None, None, 16, 16, 64, "relu")
        return y + 1

    targets = compiled(function, data.integers((256, 96), gen), packed.values, *strips)
    assert kernels(targets) == 1, targets
    assert not any("triton_bsr" in target for target in targets), "a black box"


def test_groups() -> None:
    gen = data.generator()
    mask = data.nm_mask(64, 1024, 2, 4, gen)
    packed: Packed = Nm(2, 4).pack(data.integers((64, 1024), gen), mask)
    head = Header.read(packed.index)
    numbers = (head.n, head.m, head.k_block, head.row_block, head.columns_offset)

    def function(x: Tensor, values: Tensor, index: Tensor, bias: Tensor) -> Tensor:
        return _traced.triton_nm(x, values, index, bias, None, *numbers, 64, "gelu") + 1

    x, bias = data.integers((4, 1024), gen), data.integers((64,), gen)
    targets = compiled(function, x, packed.values, packed.index, bias)
    assert kernels(targets) == 2, targets  # the parts of the sums, and adding them
    assert not any("triton_nm" in target for target in targets), "a black box"
