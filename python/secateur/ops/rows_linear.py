"""Linear layer over a weight without some rows and columns: a dense product of what is left.

No kernel of its own: it gathers the columns of x, multiplies as torch does, and scatters to y.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.formats import Header
from secateur.formats.rows import ROWS, Kept
from secateur.ops import _reference
from secateur.ops._call import check_transposed
from secateur.ops._linear import LinearOp


class RowsOp(LinearOp):
    """The ops of the rows format, on every device by torch's own dense product."""

    def __init__(self) -> None:
        super().__init__("rows")

    def default(self, *args: Any, **kwargs: Any) -> Tensor:
        """Multiply what is left, or the dense copy where that was measured faster."""
        call, header = self._read(*args, **kwargs)
        rows_of_x = call.x.numel() // header.in_features
        if call.dense is not None and header.verdict(rows_of_x) == "dense":
            return super().default(*args, **kwargs)
        kept = ROWS.kept(header, call.index)
        x = _columns(call.x.reshape(rows_of_x, header.in_features), kept.columns)
        wide = _reference.accumulator(call.x, call.values)
        bias = None if call.bias is None else call.bias.to(wide)
        weight = _matrix(call.values, kept).to(wide)
        if call.scale is not None:
            weight = weight * call.scale[kept.rows, None]
        part = bias if bias is None or len(kept.rows) == len(bias) else bias[kept.rows]
        y = _product(x.to(wide), weight, part)
        return _reference.finish(call, _scattered(y, kept.rows, header.out_features, bias))

    def dx(
        self,
        grad_y: Tensor,
        values: Tensor,
        index: Tensor,
        transposed: Tensor | None = None,
        *,
        in_features: int,
    ) -> Tensor:
        """Gradient of x; see `LinearOp.dx`. `transposed` is checked, and not needed."""
        header = Header.read(index)
        if transposed is not None:
            check_transposed(f"{self.name}_dx", transposed, header)
        kept = ROWS.kept(header, index)
        wide = _reference.accumulator(grad_y, values)
        grads = _columns(grad_y.reshape(-1, header.out_features), kept.rows).to(wide)
        grad_x = _product(grads, _matrix(values, kept).to(wide).T, None)
        result = _scattered(grad_x, kept.columns, in_features, None).to(grad_y.dtype)
        return result.reshape(*grad_y.shape[:-1], in_features).contiguous()

    def dw(self, grad_y: Tensor, x: Tensor, index: Tensor, length: int) -> Tensor:
        """Gradient of the values; see `_reference.grad_values`."""
        header = Header.read(index)
        kept = ROWS.kept(header, index)
        wide = _reference.accumulator(grad_y, x)
        grads = _columns(grad_y.reshape(-1, header.out_features), kept.rows).to(wide)
        inputs = _columns(x.reshape(-1, header.in_features), kept.columns).to(wide)
        result = grad_y.new_zeros(length)
        result[: header.nnz] = _product(grads.T, inputs.T, None).reshape(-1).to(grad_y.dtype)
        return result


rows_linear = RowsOp()


def _matrix(values: Tensor, kept: Kept) -> Tensor:
    """Return the values as the dense matrix [kept rows, kept columns]."""
    high, wide = len(kept.rows), len(kept.columns)
    return values[: high * wide].view(high, wide)


def _columns(x: Tensor, kept: Tensor) -> Tensor:
    """Return the kept columns of x ([rows of x, features])."""
    return x if len(kept) == x.shape[1] else x.index_select(1, kept)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x Wᵀ + bias in the dtype given: autocast would round the operands."""
    if not torch.is_autocast_enabled(x.device.type):
        return F.linear(x, weight, bias)
    with torch.autocast(x.device.type, enabled=False):
        return F.linear(x, weight, bias)


def _scattered(part: Tensor, kept: Tensor, features: int, rest: Tensor | None) -> Tensor:
    """Return [rows, features] with `part` at the kept features, `rest` or zero at the others."""
    if len(kept) == features:
        return part
    whole = part.new_zeros(len(part), features) if rest is None else rest.repeat(len(part), 1)
    return whole.index_copy_(1, kept.long(), part)
