"""From a pruned model to a faster one: watch it, judge each layer, swap those that are worth it.

Seeing, judging and swapping are done elsewhere; this is their order.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

import torch
from torch import nn

from secateur.nn import batchnorm, dense_layer, stored
from secateur.nn import layers as nn_layers
from secateur.nn.attention import SparseMultiheadAttention
from secateur.nn.convert import swap
from secateur.nn.sparse_layer import SparseLayer
from secateur.planning import machine, record, sites
from secateur.planning.gate import Decision, Gate, Judge, Objective
from secateur.planning.observe import Seen, observe
from secateur.planning.record import LayerRecord, Record
from secateur.planning.sites import MIN_SPARSITY, Part, Site
from secateur.pruning.progress import Callback, Progress
from secateur.pruning.selectors import Selectors


@dataclass(frozen=True)
class _Made:
    """What one part became: its replacement, or None where it stays dense."""

    part: Part
    sparse: SparseLayer | None


def convert(  # noqa: PLR0913  the front door; all but the first two have defaults
    model: nn.Module,
    example_inputs: object = None,
    rows: Iterable[int] = (),
    gate: Gate = "measured",
    objective: Objective = "speed",
    inplace: bool = False,
    targets: Selectors | None = None,
    ignore: Selectors = (),
    values: torch.dtype | None = None,
    fold_batchnorm: bool = False,
    progress: Callback | None = None,
) -> nn.Module:
    """Return `model` with sparse layers where they are faster than dense ones.

    Row counts are those of `example_inputs` and `rows`; others follow the nearest of them. Where
    none is above 4, formats for few rows are tried too, which are slow for many: name every count
    that matters. See `explain` for what was decided and why.

    Args:
        model: pruned: its zeros are taken as they are, wherever they come from. It is left as it
            was, and with inplace=True too if anything fails.
        example_inputs: a tensor; a tuple of arguments; a dict of keyword arguments; or a list of
            such. The model runs once on each, in eval mode.
        rows: further row counts (tokens of a batch, flattened) to decide for.
        gate: "measured": times each layer on this machine, takes sparse at 1.1x or more;
            "model": predicts instead, the same on every machine; "always": takes every layer
            that is pruned.
        objective: "speed", or "memory": never keeps a dense copy beside a sparse weight.
        inplace: swap within `model`; what holds a layer outside of the module tree keeps the old.
        targets: layers to consider, by exact name, glob, "re:...", class, or predicate.
        ignore: layers to leave, said likewise. An attention module is taken or left as a whole.
        values: type to hold the kept weights in, see `SparseLinear.store`: torch.bfloat16 and
            torch.int8 are rounded, smaller, and faster where memory is the limit; None: the
            weight's own.
        fold_batchnorm: put each nn.BatchNorm2d in eval mode into the weight of the convolution
            before it, sparse or dense, where torch.fx can trace the model; `fuse` goes on from it.
        progress: called with (done, total, name) before each layer; None: a bar on a terminal if
            it takes more than two seconds.

    Raises:
        ValueError: if an argument has no meaning, or the model does not run on the examples.
        TypeError: if `model` is no module or cannot be copied.
    """
    rows = sites.checked_rows(rows)
    if values is not None:
        stored.check(values)
    _check(model, gate, objective, example_inputs is None and not rows)
    found = sites.find(model, targets, ignore)
    norms = _norms(model, found) if fold_batchnorm else {}
    open_sites = [site for site in found if site.reason is None]
    watched = [site.module for site in open_sites]
    seen = {} if example_inputs is None else observe(model, example_inputs, watched)
    with Progress(len(open_sites), progress) as steps:
        work = _Work(Judge(gate, objective, values), seen, rows, steps, norms)
        layers, swaps = work.through(found, record.find(model))
    where = (machine.describe(), machine.stamp(), torch.get_num_threads())
    fast = swap(model, swaps, inplace=inplace)
    record.attach(fast, Record(layers, gate, objective, *where))
    return fast


@dataclass
class _Work:
    """The judging of all sites of a model.

    Args:
        judge: decides a layer.
        seen: what each module was called with.
        rows: row counts to judge every layer at besides.
        steps: is told of every site that is judged.
        norms: batch normalizations to fold into the convolution before them.
    """

    judge: Judge
    seen: Mapping[nn.Module, Seen]
    rows: tuple[int, ...]
    steps: Progress
    norms: Mapping[nn.Module, nn.BatchNorm2d]

    def through(
        self, found: list[Site], known: list[LayerRecord]
    ) -> tuple[list[LayerRecord], dict[nn.Module, nn.Module]]:
        """Return a record for each layer, and the modules to swap.

        Args:
            found: the sites, in the model's order.
            known: records of earlier conversions, for what is sparse already.
        """
        layers: list[LayerRecord] = []
        swaps: dict[nn.Module, nn.Module] = {}
        for site in found:
            swaps |= self._folded(site)
            if site.reason is not None:
                before = [note for note in known if sites.belongs(note.name, site)]
                layers += before or [sites.described(site)]
                continue
            self.steps.step(site.name)
            made = []
            for part in sites.parts(site, self.seen.get(site.module, Seen()), self.rows):
                note, sparse = _judged(part, site, self.judge, self.norms.get(site.module))
                layers.append(note)
                made.append(_Made(part, sparse))
            if any(m.sparse is not None for m in made):
                swaps[site.module] = _assembled(site, made)
        return layers, swaps

    def _folded(self, site: Site) -> dict[nn.Module, nn.Module]:
        """Return what becomes of a convolution that stays dense, and of its normalization.

        Raises:
            ValueError: if the numbers are such that folding changes what is computed.
        """
        norm = self.norms.get(site.module)
        if norm is None:
            return {}
        layer = dense_layer.read_conv(site.module, depthwise=True)
        for size in sorted(self.seen.get(site.module, Seen()).images)[:1]:
            off = batchnorm.off(layer, norm, size.random_x(layer))
            if not off <= 1:
                raise ValueError(
                    f"fold_batchnorm: folding into {site.name!r} moves its output {off:.3g} times "
                    f"as far as rounding may; leave it with ignore=[{site.name!r}]"
                )
        dense = nn_layers.dense(batchnorm.folded(layer, norm))
        dense.training = site.module.training
        return {site.module: dense, norm: nn.Identity()}


def _check(model: object, gate: str, objective: str, needs_rows: bool) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: wanted a torch.nn.Module, got {type(model).__name__}")
    if gate not in get_args(Gate):
        raise ValueError(f"gate: wanted 'measured', 'model' or 'always', got {gate!r}")
    if objective not in get_args(Objective):
        raise ValueError(f"objective: wanted 'speed' or 'memory', got {objective!r}")
    if needs_rows and gate != "always":
        raise ValueError(
            "example_inputs: wanted inputs to run the model on, or rows=(...) to say which row "
            "counts matter, got neither; speed depends on them"
        )


def _norms(model: nn.Module, found: list[Site]) -> dict[nn.Module, nn.BatchNorm2d]:
    """Return the batch normalizations to fold; a convolution that is to be left keeps its own."""
    free = {site.module for site in found if site.reason in (None, dense_layer.DEPTHWISE)}
    return {conv: norm for conv, norm in batchnorm.pairs(model).items() if conv in free}


def _judged(
    part: Part, site: Site, judge: Judge, norm: nn.BatchNorm2d | None
) -> tuple[LayerRecord, SparseLayer | None]:
    layer = dense_layer.read(part.layer)
    layer = layer if norm is None else batchnorm.folded(layer, norm)
    shape = (int(layer.weight.shape[0]), int(layer.weight.shape[1]))
    sparsity = 1.0 - int(layer.mask.count_nonzero()) / max(1, layer.mask.numel())
    size = layer.weight.nbytes
    note = LayerRecord(part.name, type(site.module).__name__, shape, sparsity)
    note.bytes_dense = note.bytes_sparse = size
    sizes = {size.rows: size.image for size in sorted(part.sizes, reverse=True)}
    note.rows = sorted(sizes)
    note.images = [image for rows in note.rows if (image := sizes[rows]) is not None]
    if not layer.mask.numel():
        note.reason = "it has no weights"
    elif sparsity < MIN_SPARSITY:
        note.reason = f"sparsity {sparsity:.2f} is below {MIN_SPARSITY}"
    elif not part.sizes and judge.gate != "always":
        note.reason = "example_inputs never call it"
    if note.reason:
        return note, None
    decision = judge.decide(layer, part.sizes)
    note.reason, note.timings = decision.reason, decision.timings
    note.rejected, note.candidates = decision.rejected, decision.candidates
    if decision.packed is None:
        return note, None
    sparse = _sparse(note, decision, layer, judge.values)
    # Not by train(): what training needs is made when there is any.
    sparse.training = site.module.training
    return note, sparse


def _sparse(
    note: LayerRecord,
    decision: Decision,
    layer: dense_layer.DenseLayer,
    values: torch.dtype | None,
) -> SparseLayer:
    assert decision.packed is not None
    sparse = nn_layers.sparse(layer, decision.packed)
    if values is not None:
        sparse.store(values)
    sparse.keep_dense(decision.keeps_dense)
    note.taken, note.format, note.keeps_dense = True, sparse.format, decision.keeps_dense
    bias = 0 if sparse.bias is None else sparse.bias.nbytes
    note.bytes_sparse = sparse.nbytes - bias
    return sparse


def _assembled(site: Site, made: list[_Made]) -> nn.Module:
    """Return the module that takes the place of the site's."""
    if not isinstance(site.module, nn.MultiheadAttention):
        assert made[0].sparse is not None
        return made[0].sparse
    # Dense projections are copied: the model that comes back shares no parameter with the user's.
    *projections, out = [m.sparse or copy.deepcopy(m.part.layer) for m in made]
    return SparseMultiheadAttention(site.module, projections, out)
