"""The definition of every linear op, in plain torch: what kernels, fakes and gradients are held to.

y = act(x Wᵀ + bias) + residual, a sum over the KEPT positions of W only: inf in x at a pruned
position does not become NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.backends.activations import ACTIVATIONS
from secateur.formats import Format, Header
from secateur.ops._call import Call

# Elements of the largest temporary: 4 MiB of float32, which stays in cache.
_BUFFER = 2**20


def linear(format: Format, call: Call) -> Tensor:
    """Return y ([..., out], of x's dtype), summed in float32, or in float64 where an operand is."""
    header = Header.read(call.index)
    rows, columns = format.positions(call.index)
    wide = accumulator(call.x, call.values)
    x = call.x.reshape(-1, header.in_features).to(wide)
    values = call.values[format.occupied(call.index)].to(wide)
    if call.scale is not None:
        values = values * call.scale[rows]
    y = sum_over_kept(x, values, rows, columns, call.out_features)
    return finish(call, y if call.bias is None else y + call.bias)


def sum_over_kept(
    x: Tensor, values: Tensor, rows: Tensor, columns: Tensor, out_features: int
) -> Tensor:
    """Multiply x ([rows of x, in]) by the sparse weight's transpose: [rows of x, out]."""
    y = x.new_zeros(out_features, len(x))
    step = max(1, _BUFFER // max(1, len(x)))
    for start in range(0, len(values), step):
        part = slice(start, start + step)
        y.index_add_(0, rows[part], values[part, None] * x.T[columns[part]])
    return y.T


def grad_values(format: Format, grad_y: Tensor, x: Tensor, index: Tensor, length: int) -> Tensor:
    """Gradient of the values: (grad_yᵀ x) at the kept positions, zero in the padding.

    Args:
        format: of the weight.
        grad_y: [..., out].
        x: [..., in].
        index: of the weight.
        length: of the values.

    Returns:
        [length], of grad_y's dtype. One row block of the dense gradient exists at a time.
    """
    header = Header.read(index)
    wide = accumulator(grad_y, x)
    grad_y_wide = grad_y.reshape(-1, header.out_features).to(wide)
    x = x.reshape(-1, header.in_features).to(wide)
    rows, columns = format.positions(index)
    spans = header.layout.row_spans(header.out_features)
    starts = torch.tensor([start for start, _ in spans[1:]], device=rows.device)
    block_of_value = torch.bucketize(rows, starts, right=True)
    sizes = torch.bincount(block_of_value, minlength=len(spans)).tolist()

    found = x.new_empty(len(rows))
    first = 0
    for (start, end), size in zip(spans, sizes, strict=True):
        part = slice(first, first + size)
        block = grad_y_wide[:, start:end].T @ x
        found[part] = block[rows[part] - start, columns[part]]
        first += size
    result = x.new_zeros(length)
    result[format.occupied(index)] = found
    return result.to(grad_y.dtype)


def grad_bias(grad_pre: Tensor, bias: Tensor) -> Tensor:
    """Gradient of the bias ([out], of its dtype) from that of what it is added to ([..., out])."""
    return grad_pre.reshape(-1, grad_pre.shape[-1]).sum(0).to(bias.dtype)


def finish(call: Call, y: Tensor) -> Tensor:
    """Add to y ([rows of x, out], bias included) what comes after the sum."""
    y = ACTIVATIONS[call.act].forward(y).reshape(call.y_shape)
    if call.residual is not None:
        y = y + call.residual
    return y.to(call.x.dtype).contiguous()


def accumulator(*tensors: Tensor) -> torch.dtype:
    """float32, or float64 where an operand is that."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
