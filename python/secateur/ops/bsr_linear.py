"""Linear layer over a bsr weight. The op itself is in _linear.py, the bytes in formats/bsr.py."""

from __future__ import annotations

from torch import Tensor

from secateur.ops._linear import LinearOp

OP = LinearOp("bsr")


def bsr_linear(  # noqa: PLR0913  the schema's arguments
    x: Tensor,
    values: Tensor,
    index: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    scale: Tensor | None = None,
    dense: Tensor | None = None,
    transposed: Tensor | None = None,
    *,
    out_features: int,
    act: str = "none",
) -> Tensor:
    """Return act(x Wᵀ + bias) + residual, summed over the kept positions of W only.

    Under autocast x is cast to the dtype of the values.

    Args:
        x: [..., in], floating.
        values: 1-D, floating, of a `Packed`; or int8, with a scale.
        index: 1-D, uint8, of the same `Packed`.
        bias: [out].
        residual: [..., out], added after the activation.
        scale: [out], float32: what the int8 values of each output are multiplied by; None with
            floating values.
        dense: [out, in], the same weight dense: run instead for row counts whose verdict is
            "dense". There inf × pruned zero is NaN.
        transposed: `Format.transpose(index)`; without it each backward builds it anew.
        out_features: rows of W.
        act: "none", "relu", "gelu", "gelu_tanh" or "silu".

    Returns:
        [..., out], of x's dtype.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if anything else does not fit; the message names the argument.
    """
    rest = (scale, dense, transposed)
    return OP(x, values, index, bias, residual, *rest, out_features=out_features, act=act)
