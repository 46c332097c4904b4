"""Sums of products: matrix products, convolutions, attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from secateur.pruning.structure.ops._base import Call, Info, Unknown, rule


@rule("mm")
def mm(call: Call) -> Sequence[Info]:
    """[m, k] times [k, n]."""
    a, b = call.of(0), call.of(1)
    call.contract((a, 1), (b, 0), "a matrix product")
    return [Info([a.labels[0], b.labels[1]], [a.zero[0], b.zero[1]])]


@rule("bmm")
def bmm(call: Call) -> Sequence[Info]:
    """[b, m, k] times [b, k, n]."""
    a, b = call.of(0), call.of(1)
    call.labels.equate(a.labels[0], b.labels[0])
    call.contract((a, 2), (b, 1), "a matrix product")
    zero = [a.zero[0] or b.zero[0], a.zero[1], b.zero[2]]
    return [Info([a.labels[0], a.labels[1], b.labels[2]], zero)]


@rule("mv")
def mv(call: Call) -> Sequence[Info]:
    """[m, k] times [k]."""
    a, b = call.of(0), call.of(1)
    call.contract((a, 1), (b, 0), "a matrix product")
    return [Info([a.labels[0]], [a.zero[0]])]


@rule("addmm", "baddbmm")
def addmm(call: Call) -> Sequence[Info]:
    """A matrix product plus a bias that is broadcast."""
    product = mm if call.name == "addmm" else bmm
    inner = Call(**{**vars(call), "args": call.args[1:3]})
    return [_biased(call, product(inner)[0], call.of(0))]


@rule("linear")
def linear(call: Call) -> Sequence[Info]:
    """X Wᵀ + bias, where it arrives in one piece."""
    x, weight = call.of(0), call.of(1)
    call.contract((x, -1), (weight, 1), "a linear layer")
    labels, zero = call.outer(x, len(x.labels) - 1)
    out = Info([*labels, weight.labels[0]], [*zero, weight.zero[0]])
    bias = call.arg(2, "bias")
    return [out if bias is None else _biased(call, out, call.info(bias))]


def _biased(call: Call, out: Info, bias: Info) -> Info:
    zero = list(out.zero)
    for back in range(1, len(out.labels) + 1):
        along = bias.labels[-back] if back <= len(bias.labels) else None
        if along is not None and len(along) == len(out.labels[-back]):
            call.labels.equate(out.labels[-back], along)
            zero[-back] = zero[-back] and bias.zero[-back]
        else:
            zero[-back] = False
    return Info(list(out.labels), zero)


@rule("convolution", "cudnn_convolution", "mkldnn_convolution", "_convolution")
def convolution(call: Call) -> Sequence[Info]:
    """Convolutions of any rank, grouped, depthwise and transposed."""
    if call.name not in ("convolution", "_convolution"):
        raise Unknown
    x, weight = call.of(0), call.of(1)
    transposed, groups = call.args[6], call.args[8]
    places = range(2, len(x.labels))
    call.fix(x, [0, *places], "a place in a convolution's input")
    call.fix(weight, places, "a place in a convolution's kernel")
    if groups == 1:
        inputs, outputs = (0, 1) if transposed else (1, 0)
        call.contract((x, 1), (weight, inputs), "a convolution")
        channels = weight.labels[outputs]
    else:
        channels = _grouped(call, x, weight, groups)
    zero = weight.zero[1 if transposed else 0]
    bias = call.args[2]
    if bias is not None:
        shift = call.info(bias)
        call.labels.equate(channels, shift.labels[0])
        zero = zero and shift.zero[0]
    out = Info.fixed(call.outs[0].shape)
    out.labels[1], out.zero[1] = channels, zero
    return [out]


def _grouped(
    call: Call, x: Info, weight: Info, groups: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the labels of the outputs; whole groups go, or the same inputs of each group."""
    of_group, inside = call.labels.factors(x.labels[1], (groups, len(x.labels[1]) // groups))
    if call.args[6]:
        call.labels.equate(x.labels[1], weight.labels[0])
        call.demand("groups", of_group)
        return call.labels.product([of_group, weight.labels[1]])
    per_group = len(weight.labels[0]) // groups
    outputs, within = call.labels.factors(weight.labels[0], (groups, per_group))
    call.labels.equate(of_group, outputs)
    call.labels.equate(inside, weight.labels[1])
    call.demand("groups", of_group)
    return call.labels.product([outputs, within])


@rule(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
def attention(call: Call) -> Sequence[Info]:
    """Attention over [batch, heads, tokens, features]; its scale is the caller's affair."""
    q, k, v = call.of(0), call.of(1), call.of(2)
    call.contract((q, 3), (k, 3), "attention")
    heads, shared = len(q.labels[1]), len(k.labels[1])
    group, _ = call.labels.factors(q.labels[1], (shared, heads // shared))
    call.labels.equate(group, k.labels[1])
    call.labels.equate(k.labels[1], v.labels[1])
    for info in (q, k, v):
        call.fix(info, [0, 2], "a batch or a token of attention")
    mask = call.kwargs.get("attn_mask", call.kwargs.get("attn_bias"))
    if mask is None and "efficient" in call.name:
        mask = call.arg(3, "attn_bias")
    if mask is not None:
        bias = call.info(mask)
        call.fix(bias, [d for d in range(len(bias.labels)) if d != len(bias.labels) - 3], "a token")
        if len(bias.labels) >= 3 and len(bias.labels[-3]) > 1:
            call.labels.equate(q.labels[1], bias.labels[-3])
    out = Info(
        [q.labels[0], q.labels[1], q.labels[2], v.labels[3]], [True, v.zero[1], True, v.zero[3]]
    )
    return [out, *(Info.fixed(extra.shape) for extra in call.outs[1:])]
