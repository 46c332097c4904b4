"""Many positions into one: sums, means, maxima, softmax, pooling, resampling."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from secateur.pruning.structure.ops._base import Call, Info, axis, rule

_SUMS = "sum linalg_vector_norm norm"
_OTHERS = "mean amax amin max min var std argmax argmin logsumexp prod any all median var_mean"
_LOSES_ZERO = ("logsumexp", "argmax", "argmin")


@rule(*_SUMS.split(), *_OTHERS.split())
def reduce(call: Call) -> Sequence[Info]:
    """Only a sum stays the same when what goes was zero."""
    x = call.of(0)
    dims = call.arg(2 if "norm" in call.name else 1, "dim")
    if isinstance(dims, bool) or (call.name in ("prod", "max", "min") and len(call.args) == 1):
        dims = None
    if dims is None or dims == []:
        dims = list(range(len(x.labels)))
    dims = [axis(d, len(x.labels)) for d in ([dims] if isinstance(dims, int) else dims)]
    stays = []
    for d in dims:
        if call.name not in _SUMS.split():
            stays.append((x.labels[d], f"{call.name} is taken over them"))
        elif not x.zero[d]:
            stays.append((x.labels[d], "a sum over them, and they are not zero when removed"))
    found = []
    for out in call.outs:
        keeps = out.ndim == len(x.labels)
        labels, zero = [], []
        for d, along in enumerate(x.labels):
            if d not in dims:
                labels.append(along)
                zero.append(x.zero[d] and call.name not in _LOSES_ZERO)
            elif keeps:
                labels.append(np.zeros(1, np.int64))
                zero.append(True)
        found.append(Info(labels, zero, list(stays)))
    return found


@rule("_softmax", "_log_softmax", "cumsum", "sort", "topk", "_safe_softmax")
def along(call: Call) -> Sequence[Info]:
    """Every position along one dimension depends on all of them."""
    x = call.of(0)
    at = 2 if call.name == "topk" else 1
    dim = axis(call.arg(at, "dim", -1), len(x.labels))
    call.labels.fix(x.labels[dim], f"{call.name.strip('_')} is taken over them")
    keeps = call.name in ("cumsum",)
    found = []
    for out in call.outs:
        info = Info(list(x.labels), [keeps and zero for zero in x.zero])
        info.labels[dim], info.zero[dim] = np.zeros(out.shape[dim], np.int64), True
        found.append(info)
    return found


_POOLS = (
    "max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d max_pool1d "
    "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_avg_pool1d "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact2d "
    "upsample_bilinear2d upsample_bicubic2d upsample_linear1d upsample_trilinear3d "
    "_upsample_bilinear2d_aa mkldnn_adaptive_avg_pool2d"
)


@rule(*_POOLS.split())
def pool(call: Call) -> Sequence[Info]:
    """Places of one channel into fewer or more places of it; zeros give zeros."""
    x = call.of(0)
    rank = int(re.findall(r"(\d)d", call.name)[0])
    outer = len(x.labels) - rank
    call.fix(x, range(outer, len(x.labels)), "a place of an image")
    found = []
    for out in call.outs:
        info = Info.fixed(out.shape)
        info.labels[:outer], info.zero[:outer] = x.labels[:outer], x.zero[:outer]
        found.append(info)
    return found
