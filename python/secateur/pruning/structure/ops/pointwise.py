"""Element by element: equal positions of all operands go together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from secateur.pruning.structure.ops._base import Call, Info, Unknown, axis, rule

_KEEP_ZERO = (
    "relu gelu silu tanh hardswish leaky_relu elu celu mish neg abs sin erf sqrt clone _to_copy "
    "detach alias lift_fresh lift_fresh_copy sign floor ceil round trunc expm1 log1p asin atan tan "
    "sinh square hardshrink softshrink positive nan_to_num relu6 zeros_like contiguous dropout "
    "native_dropout zero"
)
_LOSE_ZERO = (
    "sigmoid exp exp2 cos cosh log log2 log10 rsqrt reciprocal hardsigmoid softplus "
    "log_sigmoid_forward logical_not bitwise_not isnan isinf ones_like full_like rand_like "
    "randn_like empty_like erfc acos bernoulli fill"
)
_ANY_ZERO = "mul logical_and bitwise_and"
_FIRST_ZERO = "div fmod remainder floor_divide"
_ALL_ZERO = "add sub maximum minimum logical_or bitwise_or bitwise_xor logical_xor copy atan2 hypot"
_NO_ZERO = "rsub eq ne lt le gt ge xlogy"


@rule(*_KEEP_ZERO.split())
def keeps_zero(call: Call) -> Sequence[Info]:
    """f(0) = 0."""
    return _same(call, True)


@rule(*_LOSE_ZERO.split())
def loses_zero(call: Call) -> Sequence[Info]:
    """f(0) is something else, or not known."""
    return _same(call, False)


@rule("hardtanh", "clamp", "clamp_min", "clamp_max")
def clamps(call: Call) -> Sequence[Info]:
    """Zero stays zero if it lies between the bounds."""
    low, high = call.arg(1, "min"), call.arg(2, "max")
    if call.name == "clamp_max":
        low, high = None, low
    if call.name == "hardtanh":
        low, high = (-1 if low is None else low), (1 if high is None else high)
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        raise Unknown
    return _same(call, (low is None or low <= 0) and (high is None or high >= 0))


@rule("pow")
def powers(call: Call) -> Sequence[Info]:
    """0 ** p = 0 for a number p > 0."""
    exponent = call.args[1]
    if isinstance(exponent, Tensor) or not isinstance(call.args[0], Tensor):
        return [together(call, call.args[:2], lambda zeros: False)]
    return _same(call, exponent > 0)


@rule(*_ANY_ZERO.split())
def products(call: Call) -> Sequence[Info]:
    """One zero is enough."""
    return [together(call, call.args[:2], any)]


@rule(*_FIRST_ZERO.split())
def quotients(call: Call) -> Sequence[Info]:
    """0 / x = 0; that x is not 0 as well is a matter of the model, which makes NaN otherwise."""
    return [together(call, call.args[:2], lambda zeros: zeros[0])]


@rule(*_ALL_ZERO.split())
def sums(call: Call) -> Sequence[Info]:
    """Zero if all are; an operand that is the same for the whole dimension is not."""
    return [together(call, call.args[:2], all)]


@rule(*_NO_ZERO.split())
def others(call: Call) -> Sequence[Info]:
    """f(0, 0) is something else."""
    return [together(call, call.args[:2], lambda zeros: False)]


@rule("where")
def chooses(call: Call) -> Sequence[Info]:
    """Zero if both choices are."""
    return [together(call, call.args[:3], lambda zeros: all(zeros[1:]))]


@rule("lerp")
def mixes(call: Call) -> Sequence[Info]:
    """Zero if both ends are."""
    return [together(call, call.args[:3], lambda zeros: all(zeros[:2]))]


@rule("addcmul", "addcdiv")
def adds_products(call: Call) -> Sequence[Info]:
    """A + b c or a + b / c, with a number before the second term."""
    divides = call.name == "addcdiv"
    return [
        together(call, call.args[:3], lambda z: z[0] and (z[1] if divides else bool(z[1] or z[2])))
    ]


@rule("masked_fill")
def fills(call: Call) -> Sequence[Info]:
    """Zero stays if zero is what is filled in."""
    value = call.args[2]
    harmless = not isinstance(value, Tensor) and value == 0
    return [together(call, call.args[:2], lambda zeros: zeros[0] and harmless)]


@rule("_prelu_kernel", "prelu")
def prelu(call: Call) -> Sequence[Info]:
    """A slope for each channel, broadcast already by `_prelu_kernel`."""
    return [together(call, call.args[:2], lambda zeros: zeros[0])]


@rule("glu")
def glu(call: Call) -> Sequence[Info]:
    """Return a · sigmoid(b) for the two halves of one dimension."""
    x = call.of(0)
    dim = axis(call.arg(1, "dim", -1), len(x.labels))
    first, second = np.split(x.labels[dim], 2)
    call.labels.equate(first, second)
    labels = [*x.labels]
    labels[dim] = first
    return [Info(labels, list(x.zero))]


def together(call: Call, operands: Sequence[Any], zero: Callable[[list[bool]], bool]) -> Info:
    """Return the info of operands broadcast against each other.

    Args:
        call: the op.
        operands: tensors, and numbers that are no zero.
        zero: whether the result is zero, from whether each operand is.
    """
    infos = [call.info(x) if isinstance(x, Tensor) else Info([], []) for x in operands]
    ndim = max(len(info.labels) for info in infos)
    labels, zeros = [], []
    for back in range(ndim, 0, -1):
        sized = [info.labels[-back] if back <= len(info.labels) else None for info in infos]
        size = max(len(along) for along in sized if along is not None)
        full = [along if along is not None and len(along) == size else None for along in sized]
        there = [along for along in full if along is not None]
        for along in there[1:]:
            call.labels.equate(there[0], along)
        labels.append(there[0])
        zeros.append(
            size == 1
            or zero(
                [
                    along is not None and info.zero[-back]
                    for info, along in zip(infos, full, strict=True)
                ]
            )
        )
    return Info(labels, zeros)


def _same(call: Call, keeps: bool) -> Sequence[Info]:
    x = call.of(0)
    return [Info(list(x.labels), [keeps and zero for zero in x.zero]) for _ in call.outs]
