"""Pruning in one call. size: its front door says what each of its keywords means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secateur.pruning._shards import whole
from secateur.pruning.allocation import Allocation, Named, Wanted
from secateur.pruning.calibration import Loss
from secateur.pruning.criteria import AnyCriterion, Criterion
from secateur.pruning.evidence import Request
from secateur.pruning.masks import Masks
from secateur.pruning.patterns import Pattern
from secateur.pruning.recipe import Recipe
from secateur.pruning.rounds import make_masks
from secateur.pruning.scopes import Scope
from secateur.pruning.selectors import Selectors
from secateur.pruning.statuses import Wish, refuse_skips
from secateur.pruning.targets import Target, select


def prune(  # noqa: PLR0913  (keywords of the front door; each is one decision of the user's)
    model: nn.Module,
    sparsity: float | None = None,
    *,
    criterion: AnyCriterion = "magnitude",
    pattern: str | Pattern = "unstructured",
    scope: str | Scope | None = None,
    allocation: str | Allocation | Wanted = "uniform",
    targets: Selectors | None = None,
    ignore: Selectors = (),
    calibration: Iterable[Any] | Mapping[str, Any] | Tensor | None = None,
    loss: Loss | None = None,
    generator: torch.Generator | None = None,
    strict: bool = False,
) -> Masks:
    """Set the weights that matter least to zero, in place; the parameters stay what they are.

    >>> masks = prune(nn.Linear(8, 4), sparsity=0.5)
    >>> masks.kept
    16

    Of n competing weights n - round(sparsity * n) are kept, halves rounded to even. Among equal
    scores the lowest index is kept. Of a pattern of blocks, channels and the like, these are
    counted and not their weights. What is zero already goes first, whatever the criterion says, so
    that pruning a second time removes among what is left.

    Args:
        model: any module.
        sparsity: fraction of weights to remove, in [0, 1). A pattern such as "2:4" fixes it
            itself; then leave it out or give the same.
        criterion: how much each weight matters: a name (see `secateur.pruning.criteria`), or an
            object such as `Ln(3)`; a function (name, weight) -> scores or (weight) -> scores; or
            scores by parameter name. Functions and mappings speak of parameters in their own
            shape.
        pattern: where zeros may be: "unstructured"; "N:M", N KEPT of every M along the input, or
            "N:MT", along the output as well; or what lives and dies as a whole: "block:RxC",
            "channels" (also "filters", "rows"), "in_channels", "columns", "kernels", "heads:H".
        scope: who competes: weights of one "layer", of one "row", or of the model ("global").
            None: what the criterion's authors mean: "row" for wanda, "global" for snip and
            synflow; else "layer".
        allocation: how much each layer gives up, where layers do not compete: "uniform", "erk",
            "lamp", "owl" (which reads calibration); {selector: sparsity}, or a function from a
            parameter's name to its sparsity. What these do not name gets `sparsity`.
        targets: which layers, see `secateur.pruning.targets.select`; None means all that can.
        ignore: which layers not.
        calibration: batches for a criterion that looks at inputs or gradients, each a tensor, a
            tuple of positional arguments or a mapping of keyword arguments. The model runs on
            them in eval mode. Each process learns from its own batches;
            `secateur.training.broadcast_` makes masks one.
        loss: (model, batch) -> scalar, for a criterion that looks at gradients; it is given each
            batch as it comes. With neither loss nor calibration such a criterion takes the
            parameters' `.grad`.
        generator: for a criterion that draws; on any device.
        strict: refuse to leave out a weight that is prunable unless the selectors say so.

    Returns:
        the masks, by parameter name; `print` says what became of every parameter, and why.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if an argument is out of range, missing, or contradicts another, a selector
            matches nothing, or a layer cannot be pruned. The model is then as it was.
    """
    recipe = Recipe.of(criterion, pattern, scope, allocation)
    wanted = recipe.sparsity(sparsity)
    found = select(model, targets, ignore)
    recipe.check(found)
    if isinstance(recipe.allocation, Named):
        recipe.allocation.check(model, list(found.values()), rest=sparsity is not None)
    wanted = recipe.drawn(wanted, found, generator)
    request = Request(
        recipe.criterion,
        model,
        found,
        calibration,
        loss,
        masks=_left(recipe.criterion, found),
        allocation=recipe.allocation,
    )
    made = make_masks(recipe, request, wanted, generator)
    masks = Masks(made, model, recipe.origin(wanted, found, made), Wish(targets, ignore))
    if strict:
        refuse_skips(masks.report())
    masks.apply_()
    return masks


def _left(criterion: Criterion, targets: Mapping[str, Target]) -> dict[str, Tensor] | None:
    """Return what is not removed yet; None where the criterion itself puts zeros last.

    A weight that is zero throughout has not been pruned.
    """
    if getattr(criterion, "by_weight", False):
        return None
    alive = {key: whole(target.weight) != 0 for key, target in targets.items()}
    return {key: mask if bool(mask.any()) else ~mask for key, mask in alive.items()}
