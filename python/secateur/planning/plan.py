"""What prune and convert would do: predicted. size: the front door says what its keywords mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from secateur.nn import dense_layer
from secateur.nn import layers as nn_layers
from secateur.planning import cost, sites
from secateur.planning.gate import THRESHOLD, predicted
from secateur.planning.observe import Seen
from secateur.planning.record import Timing
from secateur.planning.sites import MIN_SPARSITY, Part, Site
from secateur.planning.table import bytes_text, ms_text, ratio_text, table
from secateur.pruning.allocation import Allocation, Named, Wanted
from secateur.pruning.calibration import Loss
from secateur.pruning.criteria import AnyCriterion, find_criterion
from secateur.pruning.evidence import Request
from secateur.pruning.patterns import Pattern
from secateur.pruning.recipe import Recipe
from secateur.pruning.rounds import make_masks
from secateur.pruning.scopes import Scope
from secateur.pruning.selectors import Selectors
from secateur.pruning.statuses import Status, Wish, listing, refuse_skips, statuses
from secateur.pruning.targets import select

ROWS = (1, 256)


@dataclass(frozen=True)
class PlannedLayer:
    """One layer as it would be.

    Attributes:
        name: the layer's name in the model.
        kind: class of the module.
        pruned: whether it would be pruned.
        sparse: whether `convert` is predicted to make it sparse.
        reason: why, or why not.
        shape: (out, in) of the weight as a matrix.
        sparsity: after pruning.
        bytes_dense: of the weight.
        bytes_sparse: predicted, of the packed weight; as dense where not taken.
        timings: predicted, one for each row count.
    """

    name: str
    kind: str
    pruned: bool
    sparse: bool
    reason: str
    shape: tuple[int, int]
    sparsity: float
    bytes_dense: int
    bytes_sparse: int
    timings: tuple[Timing, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The answer of `plan`; `print` shows it.

    Attributes:
        layers: in the order of the model.
        rows: row counts predicted for.
        statuses: what would become of every parameter of the model.
    """

    layers: tuple[PlannedLayer, ...]
    rows: tuple[int, ...]
    statuses: tuple[Status, ...] = ()

    def __str__(self) -> str:
        times = [f"~ms at {rows} row{'s' * (rows != 1)}" for rows in self.rows]
        header = ("layer", "", "shape", "sparsity", "bytes", *times, "reason")
        body = [
            (
                layer.name or "(model)",
                "sparse" if layer.sparse else "dense",
                "x".join(map(str, layer.shape)),
                f"{layer.sparsity:.1%}",
                f"{bytes_text(layer.bytes_dense)} -> {bytes_text(layer.bytes_sparse)}",
                *(_times(layer, at) for at in range(len(self.rows))),
                layer.reason,
            )
            for layer in self.layers
        ]
        before = sum(layer.bytes_dense for layer in self.layers)
        after = sum(layer.bytes_sparse for layer in self.layers)
        foot = (
            f"{sum(layer.sparse for layer in self.layers)} of {len(self.layers)} layers sparse, "
            f"weights {bytes_text(before)} -> {bytes_text(after)}. Nothing has been changed. "
            "Times (~) are predicted for one thread, dense -> sparse; sc.convert measures."
        )
        made = table(header, body, left=(0, 1, len(header) - 1))
        return "\n".join(filter(None, (made, listing(self.statuses), foot)))


def plan(  # noqa: PLR0913  the same keywords as prune, and rows
    model: nn.Module,
    sparsity: float | None = None,
    *,
    criterion: AnyCriterion = "magnitude",
    pattern: str | Pattern | None = None,
    scope: str | Scope | None = None,
    allocation: str | Allocation | Wanted = "uniform",
    targets: Selectors | None = None,
    ignore: Selectors = (),
    calibration: Iterable[Any] | Mapping[str, Any] | Tensor | None = None,
    loss: Loss | None = None,
    rows: Iterable[int] = ROWS,
    strict: bool = False,
) -> Plan:
    """Predict what `prune` with these arguments and then `convert` would do; change nothing.

    Args:
        model: any module.
        sparsity: fraction of weights to remove, in [0, 1). With neither sparsity nor pattern the
            model is taken as it is, with the zeros it has.
        criterion: as for `prune`.
        pattern: as for `prune`; None means "unstructured" where a sparsity is given.
        scope: as for `prune`.
        allocation: as for `prune`.
        targets: as for `prune`.
        ignore: as for `prune`.
        calibration: as for `prune`; read only where layers compete, since elsewhere how many
            weights a layer gives up does not depend on their scores.
        loss: as for `prune`, and likewise.
        rows: row counts (tokens of a batch, flattened; of a convolution, pixels of y) to predict
            for.
        strict: as for `prune`; a weight that the pattern does not fit is refused too.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if an argument makes no sense, a pattern does not exist, or `strict` and a
            weight would be left out.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: wanted a torch.nn.Module, got {type(model).__name__}")
    counts = sites.checked_rows(rows)
    made: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    misfit: dict[str, str] = {}
    if sparsity is not None or pattern is not None or allocation != "uniform":
        recipe = Recipe.of(criterion, pattern or "unstructured", scope, allocation)
        found = select(model, targets, ignore)
        request = Request(
            recipe.criterion, model, found, calibration, loss, allocation=recipe.allocation
        )
        made, misfit = _pruned(recipe, request, sparsity)
        masks = {key: found[key].to_matrix(mask) for key, mask in made.items()}
    told = statuses(model, made, Wish(targets, ignore, misfit))
    if strict:
        refuse_skips(told)
    found_sites = sites.find(model, targets, ignore)
    layers = (_layers_of(site, masks, misfit, counts) for site in found_sites)
    return Plan(tuple(chain.from_iterable(layers)), counts, told)


def _layers_of(
    site: Site, masks: Mapping[str, Tensor], misfit: Mapping[str, str], counts: tuple[int, ...]
) -> Iterator[PlannedLayer]:
    if site.reason is not None:
        yield _refused(site, masks)
        return
    for part in sites.parts(site, Seen(), counts):
        yield _planned(part, site, masks.get(part.key), misfit.get(part.key), counts)


def _pruned(
    recipe: Recipe, request: Request, sparsity: float | None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return masks, and why a target has none, both by parameter name.

    Each layer keeps as many weights as with the masks that `prune` would make.
    """
    wanted = recipe.sparsity(sparsity)
    reasons = {key: recipe.pattern.misfit(t.shape) for key, t in request.targets.items()}
    misfit = {key: reason for key, reason in reasons.items() if reason is not None}
    fitting = {key: t for key, t in request.targets.items() if key not in misfit}
    recipe.check(fitting)
    if isinstance(recipe.allocation, Named):
        recipe.allocation.check(request.model, list(fitting.values()), rest=sparsity is not None)
    if not fitting:
        return {}, misfit
    request = replace(request, targets=fitting)
    if not recipe.scope.mixes_layers and recipe.allocation.even:
        recipe = replace(recipe, criterion=find_criterion("magnitude"))
        request = replace(request, criterion=recipe.criterion, calibration=None, loss=None)
    # A generator of its own: planning leaves torch's as it is.
    return make_masks(recipe, request, wanted, torch.Generator()), misfit


def _refused(site: Site, masks: Mapping[str, Tensor]) -> PlannedLayer:
    """Describe a layer that stays dense whatever is pruned."""
    note = sites.described(site)
    key = f"{site.name}.weight" if site.name else "weight"
    mask = masks.get(key)
    sparsity = note.sparsity if mask is None else 1.0 - int(mask.count_nonzero()) / mask.numel()
    size = note.bytes_dense
    shape = note.shape or (0, 0)
    pruned = mask is not None
    return PlannedLayer(
        site.name, note.kind, pruned, False, note.reason, shape, sparsity, size, size
    )


def _planned(
    part: Part, site: Site, mask: Tensor | None, misfit: str | None, counts: Sequence[int]
) -> PlannedLayer:
    layer = dense_layer.read(part.layer)
    pruned = mask is not None
    # What is zero before stays zero, and prune takes it first; only the counts may differ.
    kept = layer.mask if mask is None else mask
    density = int(kept.count_nonzero()) / max(1, kept.numel())
    shape = (int(kept.shape[0]), int(kept.shape[1]))
    item = layer.weight.element_size()
    inferred = layer.inferred and not pruned
    format = (
        nn_layers.formats(layer._replace(mask=kept, inferred=inferred))[0] if density else "csr"
    )
    timings = tuple(
        predicted(layer, density, rows, format=format, item_bytes=item) for rows in sorted(counts)
    )
    best = max((t.speedup for t in timings), default=0.0)
    if misfit is not None:
        sparse, reason = False, f"not pruned: {misfit}"
    elif 1.0 - density < MIN_SPARSITY:
        sparse, reason = False, f"sparsity {1 - density:.2f} is below {MIN_SPARSITY}"
    else:
        sparse = best >= THRESHOLD
        reason = f"{format}, predicted {ratio_text(best)} at best" + (
            "" if sparse else ", below 1.1x"
        )
    dense_bytes = kept.numel() * item
    packed_bytes = cost.sparse_bytes(shape, density, format, item) if sparse else dense_bytes
    return PlannedLayer(
        part.name,
        type(site.module).__name__,
        pruned,
        sparse,
        reason,
        shape,
        1.0 - density,
        dense_bytes,
        packed_bytes,
        timings,
    )


def _times(layer: PlannedLayer, at: int) -> str:
    if not layer.timings:
        return ""
    timing = layer.timings[at]
    return f"{ms_text(timing.dense_ms)} -> {ms_text(timing.sparse_ms)}"
