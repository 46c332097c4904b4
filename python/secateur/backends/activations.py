"""The activations that ops and kernels apply to a sum, by name, in plain torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_aten = torch.ops.aten


class Activation(NamedTuple):
    """An activation, and its gradient from (gradient of the output, input)."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]


def _silu_backward(grad: Tensor, x: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return _aten.silu_backward(grad, x)  # type: ignore[no-any-return]
    # The fused one has no derivative of its own.
    sigmoid = torch.sigmoid(x)
    return grad * sigmoid * (1 + x * (1 - sigmoid))


ACTIVATIONS: dict[str, Activation] = {
    "none": Activation(lambda x: x, lambda grad, x: grad),
    "relu": Activation(torch.relu, lambda grad, x: _aten.threshold_backward(grad, x, 0)),
    "gelu": Activation(F.gelu, lambda grad, x: _aten.gelu_backward(grad, x)),
    "gelu_tanh": Activation(
        lambda x: F.gelu(x, approximate="tanh"),
        lambda grad, x: _aten.gelu_backward(grad, x, approximate="tanh"),
    ),
    "silu": Activation(F.silu, _silu_backward),
    "relu6": Activation(F.relu6, lambda grad, x: _aten.hardtanh_backward(grad, x, 0, 6)),
}
