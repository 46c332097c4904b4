"""Python-level calls whose int arguments are sizes or places, and what those must stay equal to.

torch's ops see only numbers; here it is still known where the model took them from.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from secateur.pruning.structure.ints import Both, Const, Count, Expr, Traced, expression, traced_in
from secateur.pruning.structure.labels import Ids, Labels
from secateur.pruning.structure.ops import Info


class Notebook(Protocol):
    """What a handler may ask of the trace, and tell it."""

    labels: Labels
    exact: bool

    def info(self, tensor: Tensor) -> Info:
        """Return what is known of a tensor."""

    def note(self, left: Expr, right: Expr) -> None:
        """Take down that two numbers must stay equal."""

    def traced(self, value: int, labels: Ids) -> int:
        """Return the number of some positions, as an int that knows it."""


@dataclass
class Frame:
    """One Python-level call of a torch function.

    Attributes:
        name: of the function.
        args: as called, ints traced.
        kwargs: as called, ints traced.
        adapts: whether the sizes its ops see are worked out anew at each call, or noted here.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    adapts: bool = False

    def arg(self, at: int, name: str, default: Any = None) -> Any:
        """Return one argument, by place or by name."""
        return self.args[at] if len(self.args) > at else self.kwargs.get(name, default)

    def exprs(self) -> dict[str, Expr]:
        """Return the int arguments that a rule may make demands on."""
        places = {"groups": _GROUPS.get(self.name), "num_groups": 1}
        found = {}
        for name, at in places.items():
            number = None if at is None else self.arg(at, name)
            if isinstance(number, int):
                found[name] = expression(number)
        return found


_GROUPS = {f"conv{n}d": 6 for n in (1, 2, 3)} | {f"conv_transpose{n}d": 6 for n in (1, 2, 3)}

_ADAPTING = (
    "flatten linear matmul __matmul__ __rmatmul__ mm bmm addmm baddbmm einsum tensordot conv1d "
    "conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d instance_norm batch_norm "
    "group_norm layer_norm rms_norm scaled_dot_product_attention repeat_interleave unbind "
    "normalize max_pool1d adaptive_avg_pool1d adaptive_max_pool1d avg_pool1d interpolate "
    "adaptive_avg_pool2d upsample view_as reshape_as expand_as channel_shuffle cosine_similarity "
    "prelu outer inner bilinear"
)
ADAPTS = frozenset(_ADAPTING.split())
"""Functions of torch that read sizes off their tensors."""

Before = Callable[[Frame, Notebook], None]
After = Callable[[Frame, Notebook, Any], None]


def adapts(name: str) -> bool:
    """Return whether what a function cuts and reshapes follows the sizes of its tensors."""
    return name in ADAPTS or name in _BEFORE or name in _AFTER


def before(frame: Frame, book: Notebook) -> bool:
    """Note what the ints of a call must stay equal to; return whether it was understood."""
    handler = _BEFORE.get(frame.name)
    if handler is not None:
        handler(frame, book)
    return handler is not None or frame.name in _AFTER


def after(frame: Frame, book: Notebook, result: Any) -> None:
    """Note what the ints of a call must stay equal to, where its result is needed for that."""
    handler = _AFTER.get(frame.name)
    if handler is not None:
        handler(frame, book, result)


def _sizes(frame: Frame, first: int) -> Sequence[Any]:
    given = frame.args[first:]
    if len(given) == 1 and isinstance(given[0], list | tuple):
        return list(given[0])
    named = [frame.kwargs[name] for name in ("size", "shape", "sizes") if name in frame.kwargs]
    return list(named[0]) if named and not given else given


def _sized(frame: Frame, book: Notebook, result: Any) -> None:
    """view, reshape, expand: each int is the size of a dimension of the result."""
    sizes = _sizes(frame, 1)
    if all(isinstance(n, int) for n in sizes) and isinstance(result, Tensor):
        _note_sizes(book, sizes, book.info(result).labels)


def _unflattened(frame: Frame, book: Notebook, result: Any) -> None:
    dim, sizes = frame.arg(1, "dim"), list(frame.arg(2, "sizes"))
    first = int(dim) % frame.args[0].ndim
    _note_sizes(book, sizes, book.info(result).labels[first : first + len(sizes)])


def _note_sizes(book: Notebook, sizes: Sequence[int], labels: Sequence[Ids]) -> None:
    for size, along in zip(sizes, labels, strict=True):
        if isinstance(size, Traced) or size != -1:
            book.note(expression(size), Count(along))


def _cuts(frame: Frame, book: Notebook) -> None:
    """split: a list of sizes, or one size for all parts."""
    x, sizes = frame.args[0], frame.arg(1, "split_size_or_sections", frame.kwargs.get("split_size"))
    sizes = frame.kwargs.get("split_sizes", sizes)
    dim = int(frame.arg(2, "dim", 0)) % x.ndim
    along = book.info(x).labels[dim]
    if isinstance(sizes, int):
        _even(book, along, int(sizes))
        book.note(expression(sizes), Count(along[: int(sizes)]))
        return
    at = 0
    for size in sizes:
        book.note(expression(size), Count(along[at : at + int(size)]))
        at += int(size)


def _chunks(frame: Frame, book: Notebook) -> None:
    x, count = frame.args[0], int(frame.arg(1, "chunks"))
    dim = int(frame.arg(2, "dim", 0)) % x.ndim
    _even(book, book.info(x).labels[dim], -(-x.shape[dim] // count))


def _even(book: Notebook, along: Ids, size: int) -> None:
    """Make parts of `size` lose the same positions, so that equal cuts stay where they were."""
    if len(along) % size:
        book.labels.fix(along, "cut into parts that are not all equal")
    for at in range(size, len(along) - len(along) % size, size):
        book.labels.equate(along[:size], along[at : at + size])


def _indexed(frame: Frame, book: Notebook) -> None:
    """x[...]: the ends of slices are numbers of kept positions; the ops fix what is picked."""
    x, index = frame.args[0], frame.args[1]
    index = index if isinstance(index, tuple) else (index,)
    dims = _dims(index, x.ndim)
    for at, dim in dims:
        if isinstance(index[at], slice):
            _sliced(index[at], book.info(x).labels[dim], book)
        elif isinstance(index[at], Traced):
            index[at].freeze()


def _dims(index: tuple[Any, ...], ndim: int) -> list[tuple[int, int]]:
    """Return (place in the index, dimension of x) for slices and ints."""
    taken = [i for i in index if i is not None and i is not Ellipsis and not isinstance(i, bool)]
    used = sum(i.ndim if _is_mask(i) else 1 for i in taken)
    found, dim = [], 0
    for at, item in enumerate(index):
        if item is Ellipsis:
            dim += ndim - used
        elif item is not None and not isinstance(item, bool):
            found.append((at, dim))
            dim += item.ndim if _is_mask(item) else 1
    return found


def _is_mask(item: Any) -> bool:
    return (
        isinstance(item, Tensor)
        and item.dtype.is_floating_point is False
        and item.dtype.itemsize == 1
    )


def _sliced(cut: slice, along: Ids, book: Notebook) -> None:
    n = len(along)
    if cut.step is not None and cut.step != 1:
        book.labels.fix(along, "taken in steps")
        return
    for end in (cut.start, cut.stop):
        parts = _equal_parts(end, along)
        if parts:
            _even(book, along, n // parts)
    start, stop, _ = slice(*(None if e is None else int(e) for e in (cut.start, cut.stop))).indices(
        n
    )
    for end, place in ((cut.start, start), (cut.stop, stop)):
        if not isinstance(end, int) or (int(end) >= n and not isinstance(end, Traced)):
            continue
        if int(end) < 0:  # counted from the back
            book.note(expression(-end), Count(along[place:]))
        else:
            book.note(expression(end), Count(along[:place]))
        if not isinstance(end, Traced) and end != 0:
            book.labels.fix(along, "cut at a place that is written in the code")


def _equal_parts(end: Any, along: Ids) -> int:
    """Return k if `end` is the size of the dimension divided by k, without rest; else 0."""
    expr = end.expr if isinstance(end, Traced) else None
    if not isinstance(expr, Both) or expr.how is not operator.floordiv:
        return 0
    whole, parts = expr.a, expr.b
    if not isinstance(whole, Count) or not isinstance(parts, Const):
        return 0
    same = len(whole.labels) == len(along) and bool((whole.labels == along).all())
    return parts.value if same and len(along) % parts.value == 0 else 0


def normalised(frame: Frame, book: Notebook) -> None:
    """layer_norm, rms_norm: the shape is that of the last dimensions."""
    shape = frame.arg(1, "normalized_shape")
    labels = book.info(frame.args[0]).labels
    _note_sizes(book, list(shape), labels[len(labels) - len(shape) :])


def _attention(frame: Frame, book: Notebook) -> None:
    """Without a scale of its own, attention scales by the number of features."""
    scale = frame.kwargs.get("scale", frame.args[6] if len(frame.args) > 6 else None)
    if scale is None:
        q = book.info(frame.args[0])
        book.labels.fix(q.labels[-1], "the scale of attention follows from their number")


def _repeated(frame: Frame, book: Notebook) -> None:
    for number in frame.args[1:]:
        if isinstance(number, Traced):
            number.freeze()


def _counted(frame: Frame, book: Notebook) -> None:
    """numel, len: a number of elements, which then goes who knows where."""
    info = book.info(frame.args[0])
    for along in info.labels[:1] if frame.name == "__len__" else info.labels:
        book.labels.fix(along, f"their number is asked for by {frame.name.strip('_')}")


def _by_rule(frame: Frame, book: Notebook) -> None:
    """Convolutions, group norm: what the rule of the op demands of the number of groups."""
    for number in traced_in((frame.args[3:6], frame.args[7:])):
        number.freeze()


_BEFORE: dict[str, Before] = {
    "split": _cuts,
    "split_with_sizes": _cuts,
    "chunk": _chunks,
    "__getitem__": _indexed,
    "layer_norm": normalised,
    "scaled_dot_product_attention": _attention,
    "repeat_interleave": _repeated,
    "numel": _counted,
    "nelement": _counted,
    "__len__": _counted,
    "conv1d": _by_rule,
    "conv2d": _by_rule,
    "conv3d": _by_rule,
    "conv_transpose1d": _by_rule,
    "conv_transpose2d": _by_rule,
    "conv_transpose3d": _by_rule,
    "group_norm": _by_rule,
}
_AFTER: dict[str, After] = {
    "view": _sized,
    "reshape": _sized,
    "expand": _sized,
    "unflatten": _unflattened,
}


def sizes_of(shape: Sequence[int], info: Info, book: Notebook) -> list[int]:
    """Return the sizes of a tensor as ints that know what they count."""
    found = []
    for size, along in zip(shape, info.labels, strict=True):
        live = bool(np.any(book.labels.find(along)))
        found.append(book.traced(size, along) if live else size)
    return found
