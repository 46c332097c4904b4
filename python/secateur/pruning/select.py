"""The only sort of the package: which scores are among the highest, exact in number.

Among equal scores the lowest index is kept. Nothing here knows what a score means.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from secateur.pruning._between import between
from secateur.pruning.radix import last_kept, ordered_bits

Scores = Callable[[], Tensor]
"""Computes one layer's scores, float32 or float64, the same ones at every call.

It may also have `shape`, and a method `pieces` that yields the same scores in row-major order, in
pieces of any size: scores that are never whole need no memory for it.
"""

_PIECE, _PIECE_ELSEWHERE = 1 << 16, 1 << 24
"""Scores looked at together: on a CPU they stay, with what is made of them, in a core's L2."""
_STRIDE = 509
"""One score in so many is sampled. A prime, so that it meets all columns of most matrices."""
_SPREAD = 4.5
"""Standard deviations of a sample's rank on either side of the threshold."""
_MOST_INSIDE = (1 << 18, 1 / 16)
"""Scores inside the bracket that are put aside at the most: a number, or a share of all."""


def kept_count(n: int, sparsity: float) -> int:
    """Return how many of `n` survive: n - round(sparsity * n), where round takes halves to even.

    It is the count of torch.nn.utils.prune for the same fraction.
    """
    return n - round(sparsity * n)


def piece_size(device: torch.device) -> int:
    """Return how many scores to look at together."""
    return _PIECE if device.type == "cpu" else _PIECE_ELSEWHERE


def ranking(scores: Tensor) -> Tensor:
    """Return the indices of each row from its highest score to its lowest, int64 [rows, n].

    Among equal scores the lowest index comes first.
    """
    return torch.sort(scores, dim=1, descending=True, stable=True).indices


def highest_first(scores: Tensor) -> Tensor:
    """Return the scores of each row from the highest to the lowest, [rows, n]."""
    return torch.sort(scores, dim=1, descending=True).values


def keep_per_row(scores: Tensor, kept: int) -> Tensor:
    """Mark the `kept` highest scores of every row.

    Args:
        scores: floating, [rows, n], without NaN.
        kept: how many to keep in each row, 0 to n.

    Returns:
        bool, [rows, n], with exactly `kept` true in each row.
    """
    keep = torch.full(scores.shape, kept == scores.shape[1], dtype=torch.bool, device=scores.device)
    if not 0 < kept < scores.shape[1]:
        return keep
    rows = max(1, piece_size(scores.device) // scores.shape[1])
    for part, out in zip(scores.split(rows), keep.split(rows), strict=True):
        least = torch.topk(part, kept, dim=1, sorted=False).values.amin(1, keepdim=True)
        torch.ge(part, least, out=out)
        tied = (out.sum(1) > kept).nonzero().flatten()
        if len(tied):
            above = part[tied] > least[tied]
            equal = part[tied] == least[tied]
            missing = kept - above.sum(1, keepdim=True)
            out[tied] = above | (equal & (equal.cumsum(1) <= missing))
    return keep


def keep_across(layers: Sequence[Scores], sparsity: float) -> list[Tensor]:
    """Mark the highest scores of all layers together, without ever joining the layers.

    A sample brackets the last score that is kept. One pass marks what is above the bracket and
    puts aside the little that is inside, which then decides: the answer is exact, and the sample
    only says where to look. Where too much is inside, as with many equal scores, or the bracket
    misses, a radix select finds the last score instead. One layer's scores are held at a time.

    Args:
        layers: one function per layer; each is called twice, or up to six times after a miss.
            All must give the same dtype, without NaN. Layers are indexed in this order.
        sparsity: fraction not to mark, in [0, 1).

    Returns:
        bool masks shaped like the scores; of the n scores in all, `kept_count(n, sparsity)` are
        marked.
    """
    sample, keep = _sample(layers)
    total = sum(mask.numel() for mask in keep)
    kept = kept_count(total, sparsity)
    if kept in (0, total):
        return [mask.fill_(kept > 0) for mask in keep]
    if not _mark_by_bracket(layers, keep, kept, _bracket(sample, kept / total)):
        _mark_by_radix(layers, keep, kept)
    return keep


def _pieces(layer: Scores, masks: list[Tensor] | None = None) -> Iterator[Tensor]:
    """Yield a layer's scores, flat, a piece at a time; add an empty mask of theirs to `masks`."""
    own: Callable[[], Iterator[Tensor]] | None = getattr(layer, "pieces", None)
    wholes = own() if own is not None else iter((layer(),))
    shape: Sequence[int] | None = getattr(layer, "shape", None)
    for number, whole in enumerate(wholes):
        if number == 0 and masks is not None:
            size = whole.shape if shape is None else shape
            masks.append(torch.empty(size, dtype=torch.bool, device=whole.device))
        yield from whole.reshape(-1).split(piece_size(whole.device))


def _sample(layers: Sequence[Scores]) -> tuple[Tensor, list[Tensor]]:
    """Return scores at even distances through each layer, on the CPU, and the layers' masks."""
    masks: list[Tensor] = []
    found: list[Tensor] = []
    for layer in layers:
        start = 0
        for piece in _pieces(layer, masks):
            found.append(piece[-start % _STRIDE :: _STRIDE].to("cpu", copy=True))
            start += len(piece)
            del piece
    return torch.cat(found), masks


def _bracket(sample: Tensor, share: float) -> tuple[float, float]:
    """Return scores between which the last of the highest `share` very likely is."""
    ordered = highest_first(sample.reshape(1, -1))[0]
    n = len(ordered)
    middle, spread = share * n, _SPREAD * math.sqrt(n * share * (1 - share)) + 2
    first, last = math.floor(middle - spread), math.ceil(middle + spread)
    high = float(ordered[first]) if first >= 0 else math.inf
    return float(ordered[last]) if last < n else -math.inf, high


class _Inside(NamedTuple):
    """Scores between the brackets.

    Attributes:
        layer: index of the layer.
        at: index in the layer.
        score: of each.
    """

    layer: int
    at: Tensor
    score: Tensor


def _mark_by_bracket(
    layers: Sequence[Scores], keep: Sequence[Tensor], kept: int, bracket: tuple[float, float]
) -> bool:
    """Mark the `kept` highest scores; say whether that was possible with this bracket."""
    most = max(_MOST_INSIDE[0], int(sum(mask.numel() for mask in keep) * _MOST_INSIDE[1]))
    above, between, inside = 0, 0, list[_Inside]()
    for number, (layer, mask) in enumerate(zip(layers, keep, strict=True)):
        for found in _mark_layer(layer, mask.view(-1), bracket):
            inside.append(found._replace(layer=number))
            between += len(found.at)
            if between > most:
                return False
        above += int(mask.count_nonzero())
    wanted = kept - above
    if not 0 <= wanted <= between:
        return False
    if between:
        scores = torch.cat([found.score.cpu() for found in inside])[None]
        chosen = keep_per_row(scores, wanted)[0].split([len(found.at) for found in inside])
        for found, take in zip(inside, chosen, strict=True):
            keep[found.layer].view(-1)[found.at[take.to(found.at.device)]] = True
    return True


def _mark_layer(layer: Scores, mask: Tensor, bracket: tuple[float, float]) -> Iterator[_Inside]:
    """Mark what is above the bracket, and yield what is inside, ends included."""
    low, high = bracket
    start = 0
    for piece in _pieces(layer):
        marks = mask[start : start + len(piece)]
        places = between(piece, low, high, marks)
        if places is not None:
            if len(places):
                yield _Inside(0, places + start, piece[places])
            start += len(piece)
            del piece, marks
            continue
        # A comparison in place is vectorised, one that makes a bool is not.
        marks.copy_(piece.clone().gt_(high))
        at = _few_true(piece.clone().ge_(low).bool().logical_xor_(marks))
        if len(at):
            yield _Inside(0, at + start, piece[at])
        start += len(piece)
        del piece, marks


def _few_true(flags: Tensor) -> Tensor:
    """Return the indices of the true ones of few, int64: eight flags are looked at at once."""
    if len(flags) % 8:
        return flags.nonzero().flatten()
    eights = flags.view(torch.int64).nonzero()
    at = (8 * eights + torch.arange(8, device=flags.device)).flatten()
    return at[flags[at]]


def _mark_by_radix(layers: Sequence[Scores], keep: Sequence[Tensor], kept: int) -> None:
    """Mark the `kept` highest scores, 1 or more, of any distribution."""
    # Chained: a generator with a variable of its own would hold a layer while the next is made.
    key, ties = last_kept(lambda: itertools.chain.from_iterable(map(_pieces, layers)), kept)
    for layer, mask in zip(layers, keep, strict=True):
        ties -= _mark_keys(layer, mask.view(-1), key, ties)


def _mark_keys(layer: Scores, mask: Tensor, key: int, ties: int) -> int:
    """Mark what is above `key`, and the first `ties` that equal it; return how many those are."""
    start = done = 0
    for piece in _pieces(layer):
        keys = ordered_bits(piece)
        marks = mask[start : start + len(piece)]
        torch.gt(keys, key, out=marks)
        equal = (keys == key).nonzero().flatten()[: ties - done]
        marks[equal] = True
        done += len(equal)
        start += len(piece)
    return done
