"""Two layers over csr weights in one call. The op itself is in _mlp.py."""

from __future__ import annotations

from torch import Tensor

from secateur.ops._mlp import MlpOp
from secateur.ops.csr_linear import OP as LINEAR

OP = MlpOp(LINEAR)


def csr_mlp(  # noqa: PLR0913  the schema's arguments
    x: Tensor,
    values1: Tensor,
    index1: Tensor,
    values2: Tensor,
    index2: Tensor,
    bias1: Tensor | None = None,
    bias2: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    hidden_features: int,
    out_features: int,
    act: str = "gelu",
    act_out: str = "none",
) -> Tensor:
    """Return act_out(act(x W1ᵀ + bias1) W2ᵀ + bias2) + residual, over kept positions only.

    Two calls of `csr_linear` say the same. With 16 rows of x or more, all float32, a kernel on
    the CPU never writes out what lies between the two.

    Args:
        x: [..., in], floating; under autocast cast to the dtype of values1.
        values1: 1-D, floating, of a `Packed` [hidden, in].
        index1: 1-D, uint8, of the same `Packed`.
        values2: 1-D, floating, of a `Packed` [out, hidden].
        index2: 1-D, uint8, of the same `Packed`.
        bias1: [hidden].
        bias2: [out].
        residual: [..., out], added last.
        hidden_features: rows of W1, columns of W2.
        out_features: rows of W2.
        act: "none", "relu", "gelu", "gelu_tanh" or "silu", after the first layer.
        act_out: the same, after the second.

    Returns:
        [..., out], of x's dtype.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if anything else does not fit; the message names layer and argument.
    """
    tensors = (x, values1, index1, values2, index2, bias1, bias2, residual)
    sizes = {"hidden_features": hidden_features, "out_features": out_features}
    return OP(*tensors, **sizes, act=act, act_out=act_out)
