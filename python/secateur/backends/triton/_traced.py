"""The forward kernels as ops that torch.compile sees into: it plans and fuses around them.

What a call outside of a graph keeps beside the index is an argument here, for a traced function
has no tensors to keep it on. No gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.backends.triton import _bsr_linear, _nm_linear
from secateur.backends.triton._launch import Tail
from secateur.formats import Header
from secateur.formats.bsr_index import Strips


@torch.library.triton_op("secateur::triton_bsr", mutates_args={})
def triton_bsr(  # noqa: PLR0913  a schema has no structures
    x: Tensor,
    values: Tensor,
    first: Tensor,
    across: Tensor,
    along: Tensor,
    start: Tensor,
    order: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    r: int,
    c: int,
    out_features: int,
    act: str,
) -> Tensor:
    """Return act(x Wᵀ + bias) + residual, over the `Strips` of a weight in blocks of r x c."""
    strips = Strips(first, across, along, start, order)
    tail = Tail(bias, residual, act)
    return _bsr_linear.product(x, values, strips, (r, c), out_features, tail)


@torch.library.triton_op("secateur::triton_nm", mutates_args={})
def triton_nm(  # noqa: PLR0913  a schema has no structures
    x: Tensor,
    values: Tensor,
    index: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    n: int,
    m: int,
    k_block: int,
    row_block: int,
    columns_offset: int,
    out_features: int,
    act: str,
) -> Tensor:
    """Return act(x Wᵀ + bias) + residual; the numbers are those of the header of `index`."""
    head = Header(
        in_features=x.shape[-1],
        out_features=out_features,
        n=n,
        m=m,
        k_block=k_block,
        row_block=row_block,
        columns_offset=columns_offset,
    )
    return _nm_linear.forward(x, values, index, head, Tail(bias, residual, act))
