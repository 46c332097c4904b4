"""Positions that move: reshapes, permutations, cuts and joins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from secateur.pruning.structure.labels import Ids, Labels
from secateur.pruning.structure.ops._base import Call, Info, Unknown, axis, rule


@rule("view", "_unsafe_view", "reshape", "_reshape_alias")
def view(call: Call) -> Sequence[Info]:
    """Dimensions made one, or cut."""
    x = call.of(0)
    if call.outs[0].dtype != call.args[0].dtype:
        raise Unknown
    out = reshaped(call.labels, x, list(call.outs[0].shape))
    if not call.adapts and list(call.outs[0].shape) != [len(along) for along in x.labels]:
        for along in x.labels:
            call.labels.fix(along, "a reshape to sizes that are written in the code")
    return [out]


def reshaped(labels: Labels, x: Info, shape: list[int]) -> Info:
    """Return what is known of x after a reshape."""
    if 0 in shape:
        return Info.fixed(shape)
    out_labels: list[Ids] = []
    out_zero: list[bool] = []
    taken, i = 0, 0
    while taken < len(x.labels) or i < len(shape):
        first, start = taken, i
        have = want = 1
        if taken < len(x.labels):
            have, taken = len(x.labels[taken]), taken + 1
        if i < len(shape):
            want, i = shape[i], i + 1
        while have != want:
            if have < want:
                have, taken = have * len(x.labels[taken]), taken + 1
            else:
                want, i = want * shape[i], i + 1
        run, sizes = x.labels[first:taken], shape[start:i]
        zero = all(x.zero[first:taken])
        if len(run) == len(sizes) == 1:
            parts = list(run)
        else:
            parts = labels.factors(labels.product(run), sizes) if sizes else []
        out_labels += parts
        out_zero += [zero] * len(sizes)
    return Info(out_labels, out_zero)


@rule("permute")
def permute(call: Call) -> Sequence[Info]:
    """Dimensions in another order."""
    x = call.of(0)
    order = [axis(d, len(x.labels)) for d in call.args[1]]
    return [_taken(x, order)]


@rule("transpose", "t", "numpy_T", "swapaxes")
def transpose(call: Call) -> Sequence[Info]:
    """Two dimensions swapped."""
    x = call.of(0)
    order = list(range(len(x.labels)))
    if call.name == "transpose":
        a, b = (axis(d, len(order)) for d in call.args[1:3])
        order[a], order[b] = order[b], order[a]
    else:
        order.reverse()
    return [_taken(x, order)]


@rule("unsqueeze")
def unsqueeze(call: Call) -> Sequence[Info]:
    """A dimension of size 1 more."""
    x = call.of(0)
    at = axis(call.args[1], len(x.labels) + 1)
    labels, zero = list(x.labels), list(x.zero)
    labels.insert(at, np.zeros(1, np.int64))
    zero.insert(at, True)
    return [Info(labels, zero)]


@rule("squeeze")
def squeeze(call: Call) -> Sequence[Info]:
    """Dimensions of size 1 less."""
    x = call.of(0)
    dims = call.arg(1, "dim", range(len(x.labels)))
    dims = [dims] if isinstance(dims, int) else dims
    gone = {axis(d, len(x.labels)) for d in dims}
    order = [d for d, along in enumerate(x.labels) if d not in gone or len(along) != 1]
    return [_taken(x, order)]


@rule("expand")
def expand(call: Call) -> Sequence[Info]:
    """Dimensions of size 1 repeated: the copies are no channels."""
    x, shape = call.of(0), call.outs[0].shape
    out = Info.fixed(shape)
    for back in range(1, len(x.labels) + 1):
        if len(x.labels[-back]) == shape[-back]:
            out.labels[-back], out.zero[-back] = x.labels[-back], x.zero[-back]
    return [out]


@rule("as_strided")
def as_strided(call: Call) -> Sequence[Info]:
    """The same elements in the same order, if only dimensions of size 1 get other strides."""
    x, size, stride = call.of(0), call.args[1], call.args[2]
    before = call.strides.get(id(call.args[0]), call.args[0].stride())
    sizes = [len(along) for along in x.labels]
    moved = any(n > 1 and old != new for n, old, new in zip(size, before, stride, strict=False))
    if list(size) != sizes or moved or call.arg(3, "storage_offset"):
        raise Unknown
    return [Info(list(x.labels), list(x.zero))]


@rule("repeat")
def repeat(call: Call) -> Sequence[Info]:
    """Whole dimensions one after another."""
    x, times = call.of(0), call.args[1]
    new = len(times) - len(x.labels)
    labels = [np.zeros(1, np.int64)] * new + list(x.labels)
    zero = [True] * new + list(x.zero)
    return [Info([np.tile(a, n) for a, n in zip(labels, times, strict=True)], zero)]


@rule("cat")
def cat(call: Call) -> Sequence[Info]:
    """Positions one after another along one dimension."""
    infos = [call.info(x) for x in call.args[0] if x.numel() or x.ndim > 1]
    dim = axis(call.arg(1, "dim", 0), len(infos[0].labels))
    out = Info(
        list(infos[0].labels), [all(zeros) for zeros in zip(*(i.zero for i in infos), strict=True)]
    )
    for d in range(len(out.labels)):
        for info in infos[1:] if d != dim else ():
            call.labels.equate(out.labels[d], info.labels[d])
    out.labels[dim] = np.concatenate([info.labels[dim] for info in infos])
    return [out]


@rule("stack")
def stack(call: Call) -> Sequence[Info]:
    """Tensors of one shape along a new dimension."""
    infos = [call.info(x) for x in call.args[0]]
    at = axis(call.arg(1, "dim", 0), len(infos[0].labels) + 1)
    for d, along in enumerate(infos[0].labels):
        for info in infos[1:]:
            call.labels.equate(along, info.labels[d])
    labels = list(infos[0].labels)
    zero = [all(zeros) for zeros in zip(*(i.zero for i in infos), strict=True)]
    labels.insert(at, np.zeros(len(infos), np.int64))
    zero.insert(at, True)
    return [Info(labels, zero)]


@rule(
    "split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk"
)
def split(call: Call) -> Sequence[Info]:
    """One dimension cut; whoever calls it says what the cuts depend on."""
    x = call.of(0)
    dim = axis(call.arg(2, "dim", 0), len(x.labels))
    if not call.adapts:
        call.labels.fix(x.labels[dim], "cut at places that are written in the code")
    found, at = [], 0
    for part in call.outs:
        labels = list(x.labels)
        labels[dim] = x.labels[dim][at : at + part.shape[dim]]
        at += part.shape[dim]
        found.append(Info(labels, list(x.zero)))
    return found


@rule("slice", "narrow")
def slice_(call: Call) -> Sequence[Info]:
    """Part of one dimension."""
    x, size = call.of(0), call.args[0].shape
    if call.name == "narrow":
        raise Unknown
    dim = axis(call.arg(1, "dim", 0), len(size))
    start, stop, step = call.arg(2, "start"), call.arg(3, "end"), call.arg(4, "step", 1)
    labels = list(x.labels)
    labels[dim] = x.labels[dim][slice(start, stop, step)]
    if not call.adapts and (step != 1 or len(labels[dim]) != size[dim]):
        call.labels.fix(x.labels[dim], "cut at places that are written in the code")
    return [Info(labels, list(x.zero))]


@rule("select", "unbind")
def select(call: Call) -> Sequence[Info]:
    """Single positions of one dimension."""
    x = call.of(0)
    dim = axis(call.arg(1, "dim", 0), len(x.labels))
    call.labels.fix(x.labels[dim], "picked one by one, by number")
    order = [d for d in range(len(x.labels)) if d != dim]
    return [_taken(x, order) for _ in call.outs]


@rule("index", "index_select")
def index(call: Call) -> Sequence[Info]:
    """Positions along one dimension, chosen by a tensor."""
    x = call.of(0)
    if call.name == "index_select":
        dim, chosen = axis(call.args[1], len(x.labels)), call.args[2]
    else:
        tensors = [(d, t) for d, t in enumerate(call.args[1]) if isinstance(t, Tensor)]
        if (
            len(tensors) != 1
            or tensors[0][1].is_floating_point()
            or tensors[0][1].dtype.itemsize == 1
        ):
            raise Unknown
        dim, chosen = tensors[0]
    call.labels.fix(x.labels[dim], "picked one by one, by number")
    places = Info.fixed(chosen.shape)
    labels = [*x.labels[:dim], *places.labels, *x.labels[dim + 1 :]]
    return [Info(labels, [*x.zero[:dim], *places.zero, *x.zero[dim + 1 :]])]


@rule("flip")
def flip(call: Call) -> Sequence[Info]:
    """Dimensions backwards."""
    x = call.of(0)
    turned = {axis(d, len(x.labels)) for d in call.args[1]}
    labels = [a[::-1].copy() if d in turned else a for d, a in enumerate(x.labels)]
    return [Info(labels, list(x.zero))]


@rule("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad2d")
def pad(call: Call) -> Sequence[Info]:
    """More places along the last dimensions."""
    x, shape = call.of(0), call.outs[0].shape
    labels, zero = list(x.labels), list(x.zero)
    value = call.arg(2, "value", 0)
    for d, along in enumerate(labels):
        if len(along) != shape[d]:
            call.labels.fix(along, "padded")
            labels[d] = np.zeros(shape[d], np.int64)
        elif call.name == "constant_pad_nd":
            zero[d] = zero[d] and value == 0
    return [Info(labels, zero)]


@rule("roll", "tril", "triu")
def moves_places(call: Call) -> Sequence[Info]:
    """Places, not channels, along the dimensions concerned."""
    x = call.of(0)
    ndim = len(x.labels)
    if call.name == "roll":
        dims = [axis(d, ndim) for d in call.arg(2, "dims", ())] or list(range(ndim))
    else:
        dims = [ndim - 2, ndim - 1]
    call.fix(x, dims, f"moved about by {call.name}")
    return [Info(list(x.labels), list(x.zero))]


@rule("pixel_shuffle")
def pixel_shuffle(call: Call) -> Sequence[Info]:
    """[.., C r r, H, W] to [.., C, H r, W r]."""
    x, factor = call.of(0), call.args[1]
    channels = x.labels[-3]
    count = len(channels) // factor**2
    outer, inner = call.labels.factors(channels, (count, factor**2))
    call.labels.fix(inner, "places of a pixel shuffle")
    call.fix(x, [-2, -1], "a place of an image")
    out = Info.fixed(call.outs[0].shape)
    out.labels[:-3], out.zero[:-3] = x.labels[:-3], x.zero[:-3]
    out.labels[-3], out.zero[-3] = outer, x.zero[-3]
    return [out]


def _taken(x: Info, order: Sequence[int]) -> Info:
    return Info([x.labels[d] for d in order], [x.zero[d] for d in order])
