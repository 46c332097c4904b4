"""Pruning in one call: weights in, zeros and masks out."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from secateur.pruning.criteria import Criterion
from secateur.pruning.masks import Masks
from secateur.pruning.patterns import Pattern
from secateur.pruning.recipe import Recipe
from secateur.pruning.scopes import Scope
from secateur.pruning.selectors import Selectors
from secateur.pruning.targets import select


def prune(  # noqa: PLR0913  (keywords of the front door; each is one decision of the user's)
    model: nn.Module,
    sparsity: float | None = None,
    *,
    criterion: str | Criterion = "magnitude",
    pattern: str | Pattern = "unstructured",
    scope: str | Scope = "layer",
    targets: Selectors | None = None,
    ignore: Selectors = (),
    calibration: Iterable[object] | None = None,
    generator: torch.Generator | None = None,
) -> Masks:
    """Set the weights that matter least to zero, in place; the parameters stay what they are.

    >>> masks = prune(nn.Linear(8, 4), sparsity=0.5)
    >>> masks.kept
    16

    Of n competing weights n - round(sparsity * n) are kept, halves rounded to even. Among equal
    scores the lowest index is kept.

    Args:
        model: any module.
        sparsity: fraction of weights to remove, in [0, 1). A pattern such as "2:4" fixes it
            itself; then leave it out or give the same.
        criterion: how much each weight matters: "magnitude", "random".
        pattern: where zeros may be: "unstructured", or "N:M", N KEPT of every M along the input.
        scope: who competes: weights of one "layer", of one "row", or of the model ("global").
        targets: which layers, see `secateur.pruning.targets.select`; None means all that can.
        ignore: which layers not.
        calibration: batches for a criterion that looks at activations.
        generator: for a criterion that draws; on any device.

    Returns:
        the masks, by parameter name.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if an argument is out of range or two contradict each other, a selector matches
            nothing, or a layer cannot be pruned. The model is then as it was.
    """
    recipe = Recipe.of(criterion, pattern, scope)
    if calibration is not None:
        raise ValueError(
            f"criterion {recipe.criterion.name!r} looks at weights alone and reads no batches; "
            "leave calibration out"
        )
    wanted = recipe.sparsity(sparsity)
    found = select(model, targets, ignore)
    recipe.check(found)
    masks = Masks(recipe.masks(found, wanted, generator), model, recipe.origin(wanted))
    masks.apply_()
    return masks
