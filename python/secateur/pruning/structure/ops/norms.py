"""Normalisation. Statistics over channels change when channels go, even if those were zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from secateur.pruning.structure.ops._base import Call, Info, rule


@rule(
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "cudnn_batch_norm",
    "miopen_batch_norm",
)
def batch_norm(call: Call) -> Sequence[Info]:
    """Each channel by itself."""
    x = call.of(0)
    call.fix(x, [d for d in range(len(x.labels)) if d != 1], "a place that batch norm counts")
    out = Info(list(x.labels), list(x.zero))
    for tensor in call.args[1:5]:
        if isinstance(tensor, Tensor) and tensor.ndim:
            call.labels.equate(x.labels[1], call.info(tensor).labels[0])
    out.zero[1] = _zeroed(call, call.args[1:3])
    return [out, *(Info.fixed(extra.shape) for extra in call.outs[1:])]


@rule("native_layer_norm")
def layer_norm(call: Call) -> Sequence[Info]:
    """The last dimensions together: their mean would be taken over fewer."""
    x, shape = call.of(0), call.args[1]
    outer = len(x.labels) - len(shape)
    if call.exact:
        why = "layer norm takes its mean and variance over them"
        call.fix(x, range(outer, len(x.labels)), why)
    for tensor in call.args[2:4]:
        if tensor is not None:
            for mine, its in zip(x.labels[outer:], call.info(tensor).labels, strict=True):
                call.labels.equate(mine, its)
    zero = _zeroed(call, call.args[2:4])
    shifted = call.args[3] is not None
    zeros = [kept and not shifted for kept in x.zero[:outer]] + [zero] * len(shape)
    out = Info(list(x.labels), zeros)
    return [out, *(Info.fixed(extra.shape) for extra in call.outs[1:])]


@rule("native_group_norm")
def group_norm(call: Call) -> Sequence[Info]:
    """Whole groups go; the channels of one group have their mean in common."""
    x, groups = call.of(0), call.args[6]
    channels = x.labels[1]
    whole, inside = call.labels.factors(channels, (groups, len(channels) // groups))
    if call.exact:
        call.labels.fix(inside, "group norm takes its mean and variance over them")
    call.demand("num_groups", whole)
    call.fix(x, [d for d in range(len(x.labels)) if d != 1], "a place that group norm counts")
    for tensor in call.args[1:3]:
        if tensor is not None:
            call.labels.equate(channels, call.info(tensor).labels[0])
    out = Info(list(x.labels), list(x.zero))
    out.zero[1] = _zeroed(call, call.args[1:3])
    return [out, *(Info.fixed(extra.shape) for extra in call.outs[1:])]


def _zeroed(call: Call, affine: Sequence[Any]) -> bool:
    """Return whether scale and shift are there, so that zeroing them zeroes the channel."""
    return all(tensor is not None and call.info(tensor).zero[0] for tensor in affine)
