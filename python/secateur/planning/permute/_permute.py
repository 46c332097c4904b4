"""The front door of permuting: find what may be permuted, search, permute, check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from secateur.planning.fuse._capture import capture
from secateur.planning.observe import calls
from secateur.planning.permute._changes import Change, Fold, Gather, make
from secateur.planning.permute._report import Line, Permutation
from secateur.planning.permute._spaces import Graph, Space, Stuck
from secateur.planning.permute.search import Found, kept, row_bound, search
from secateur.planning.stopwatch import compare
from secateur.pruning.criteria import CRITERIA, Criterion, Evidence
from secateur.pruning.patterns import Pattern, find_pattern
from secateur.pruning.patterns.nm import NM
from secateur.pruning.progress import Callback, Progress
from secateur.pruning.running import evaluating, no_fused_attention
from secateur.pruning.selectors import Selectors
from secateur.pruning.targets import Target, select


def permute_(  # noqa: PLR0913  (keywords of the front door; each is one decision of the user's)
    model: nn.Module,
    example_inputs: object,
    *,
    pattern: str | Pattern = "2:4",
    criterion: str | Criterion = "magnitude",
    targets: Selectors | None = None,
    ignore: Selectors = (),
    gather: bool = False,
    generator: torch.Generator | None = None,
    progress: Callback | None = None,
) -> Permutation:
    """Permute channels inside the model, in place: pruning to N:M will then lose less.

    >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    >>> print(permute_(model, torch.randn(2, 8))["2.weight"].status)
    folded

    The inputs of a layer are permuted by permuting what writes them: rows of the layers before,
    and normalisations between. So the model computes what it did, but for the order in which sums
    are added up, and takes no longer. Layers that read the same channels share one permutation,
    heads of an attention one inside the head. Where channels are an input or an output of the
    model, or pass an op that is not known to keep them apart, a gather at run time is offered, with
    what it takes. Call it before `prune`. Method: Pool and Yu, "Channel Permutations for N:M
    Sparsity", NeurIPS 2021, with another search, `secateur.ops.nm_regroup`.

    Args:
        model: any module that torch.export captures.
        example_inputs: a tensor, a tuple of arguments, or a dict of keyword arguments.
        pattern: "N:M", N kept of every M.
        criterion: how much each weight matters, one that looks at weights alone.
        targets: which layers to do it for, as in `prune`; others follow where they must.
        ignore: which not.
        gather: put a `PermutedInput` before each layer that gains and could not be folded; its
            parameters are then called "<layer>.layer.<parameter>".
        generator: for the search, on the CPU; None means torch's default one.
        progress: called with (layers done, all, name); None: a bar after two seconds.

    Returns:
        a report with a line for each weight meant; print it.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if the pattern is not N:M, the criterion wants more than weights, or the model
            cannot be captured or would compute something else; the model is then as it was.
    """
    job = _Job(_nm(pattern), _criterion(criterion), generator)
    found = select(model, targets, ignore)
    graph = Graph(capture(model, example_inputs).module, model)
    before = _outputs(model, example_inputs)
    with Progress(len(found), progress) as bar:
        lines, folds = _folds(graph, found, job, bar)
        gathers = _gathers(graph, found, job, bar, lines)
    put_in = gathers if gather else {}
    lines |= {k: replace(lines[k], status="gathered") for k in put_in}
    changes: list[Change] = [*folds, *(Gather(model, found[k], *put_in[k]) for k in put_in)]
    make(changes, lambda: _check(before, _outputs(model, example_inputs)))
    for fold in folds:
        lines |= {key: job.folded(lines[key], found[key], fold.space) for key in fold.keys}
    return Permutation(job.pattern.name, tuple(lines[key] for key in found))


def _folds(
    graph: Graph, found: Mapping[str, Target], job: _Job, bar: Progress
) -> tuple[dict[str, Line], list[Fold]]:
    """Search an order for everything that can be folded; lines of all, as things are now."""
    spaces, lines = _spaces(graph, found, job)
    folds = []
    for space, keys in spaces:
        for key in keys:
            bar.step(key)
            lines[key] = job.line(key, found[key])
        note = _again(bar, ", ".join(keys))
        order = job.search(space.channels, [found[key] for key in keys], note)
        folds.append(Fold(space, order.order, keys))
    return lines, folds


def _gathers(
    graph: Graph, found: Mapping[str, Target], job: _Job, bar: Progress, lines: dict[str, Line]
) -> dict[str, tuple[Tensor, int]]:
    """Write what a gather would do into the lines of what cannot be folded; return the gathers."""
    gathers = {}
    for key in [key for key, line in lines.items() if line.reason]:
        bar.step(key)
        lines[key], order = _offer(graph, found[key], lines[key], job, _again(bar, key))
        if order is not None:
            gathers[key] = order
    return gathers


@dataclass(frozen=True)
class _Job:
    """What to search for, and how."""

    pattern: NM
    criterion: Criterion
    generator: torch.Generator | None

    def scores(self, target: Target, channels: int) -> Tensor:
        """Return the scores of a weight as rows of its channels, [out and whatever, channels]."""
        matrix = target.matrix
        return self.criterion.score(matrix, Evidence()).reshape(-1, channels)

    def search(
        self, channels: int, targets: Iterable[Target], note: Callable[[float], None]
    ) -> Found:
        """Search one order for all of them: their rows compete together."""
        rows = torch.cat([self.scores(target, channels).float().cpu() for target in targets])
        n, m = self.pattern.n, self.pattern.m
        return search(rows, n, m, generator=self.generator, note=note)

    def line(self, key: str, target: Target) -> Line:
        """Return the sums of a weight as it is now."""
        rows = self.scores(target, target.weight.shape[target.layout != "in_out"])
        n, m = self.pattern.n, self.pattern.m
        now = kept(rows, torch.arange(rows.shape[1]), n, m)
        return Line(key, "left", before=now, after=now, bound=row_bound(rows, n, m))

    def folded(self, start: Line, target: Target, space: Space) -> Line:
        """Return the line of a weight whose space has just been permuted."""
        with_it = tuple(h.name for h in space.held if h.name != start.name)
        return replace(start, status="folded", after=self.line("", target).after, into=with_it)


def _nm(pattern: str | Pattern) -> NM:
    found = find_pattern(pattern) if isinstance(pattern, str) else pattern
    if not isinstance(found, NM) or found.n == found.m:
        raise ValueError(
            f"pattern: wanted N:M with N below M, got {found.name!r}; other patterns gain nothing "
            "by the order of channels"
        )
    return found


def _criterion(criterion: str | Criterion) -> Criterion:
    found = CRITERIA.get(criterion)() if isinstance(criterion, str) else criterion
    if found.needs:
        raise ValueError(
            f"criterion {found.name!r} needs {', '.join(sorted(found.needs))}, not weights alone; "
            'wanted one such as "magnitude"'
        )
    return found


def _spaces(
    graph: Graph, found: Mapping[str, Target], job: _Job
) -> tuple[list[tuple[Space, list[str]]], dict[str, Line]]:
    """Return what can be permuted and for whose sake, and lines of those that cannot be."""
    spaces: dict[frozenset[tuple[int, object]], tuple[Space, list[str]]] = {}
    lines: dict[str, Line] = {}
    for key, target in found.items():
        try:
            if target.weight.shape[target.layout != "in_out"] % job.pattern.m:
                raise Stuck(f"its channels are no multiple of {job.pattern.m}")
            space = graph.space(target.weight)
            if space.channels % job.pattern.m:
                raise Stuck(
                    f"{space.channels} channels of a head are no multiple of {job.pattern.m}"
                )
        except Stuck as stuck:
            lines[key] = Line(key, "left", str(stuck))
            continue
        same = frozenset((id(held.tensor), held.place) for held in space.held)
        spaces.setdefault(same, (space, []))[1].append(key)
    return list(spaces.values()), lines


def _offer(
    graph: Graph, target: Target, line: Line, job: _Job, note: Callable[[float], None]
) -> tuple[Line, tuple[Tensor, int] | None]:
    """Search an order for one layer alone, and time the gather it needs.

    Returns:
        its line, and (order, dimension of the channels) if a gather would gain anything.
    """
    inputs = graph.inputs(target.weight)
    channels = target.weight.shape[target.layout != "in_out"]
    plain = isinstance(target.module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    if channels % job.pattern.m or getattr(target.module, "groups", 1) != 1:
        return line, None
    line = replace(job.line(line.name, target), reason=line.reason)
    # A model that is the layer has no place for a gather; nor has a weight that others read.
    if not plain or not inputs or not target.name or not graph.alone(target.weight):
        return line, None
    found = job.search(channels, [target], note)
    if not found.moved:
        return line, None
    node, dim = inputs[0]
    value = node.meta["val"]
    shape = [int(size) for size in value.shape]
    x = torch.zeros(shape, dtype=value.dtype, device=target.weight.device)
    order = found.order.to(x.device)
    with torch.no_grad():
        gather_ms, layer_ms = compare(
            lambda: x.index_select(dim, order), lambda: target.module(x), threshold=1, budget_s=0.05
        )
    after = kept(job.scores(target, channels), found.order, job.pattern.n, job.pattern.m)
    line = replace(line, status="offered", after=after, gather_ms=gather_ms, layer_ms=layer_ms)
    return line, (order, dim - x.dim())


def _outputs(model: nn.Module, example_inputs: object) -> list[Tensor]:
    ((args, kwargs),) = calls(example_inputs)
    with (
        evaluating(model),
        no_fused_attention(),
        torch.no_grad(),
        torch.random.fork_rng(devices=[]),
    ):
        return [leaf for leaf in tree_leaves(model(*args, **kwargs)) if isinstance(leaf, Tensor)]


def _check(before: list[Tensor], after: list[Tensor]) -> None:
    """Raise ValueError if outputs differ by more than sums in another order can explain.

    Half the digits of the dtype stand between the two: reordering costs the last few of them, a
    permutation in the wrong place all.
    """
    for old, new in zip(before, after, strict=True):
        if not old.is_floating_point():
            continue
        scale = float(old.nan_to_num(0, 0, 0).abs().amax()) if old.numel() else 0.0
        allowed = scale * torch.finfo(old.dtype).eps ** 0.5
        close = ((old - new).abs() <= allowed) | (old == new) | (old.isnan() & new.isnan())
        if not bool(close.all()):
            raise ValueError(
                "model: permuted, it computes something else on example_inputs (off by "
                f"{float((old - new).abs().max()):.3g} of {scale:.3g}), so it was left as it was. "
                "Does its forward read or write weights outside the graph?"
            )


def _again(bar: Progress, what: str) -> Callable[[float], None]:
    """Return what tells that a step goes on."""

    def note(share: float) -> None:
        bar.done -= 1
        bar.step(f"{what} ({share:.0%})")

    return note
