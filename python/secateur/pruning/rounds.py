"""Masks from what the user gave: gather the evidence, score, mask; in rounds where that is asked.

Nothing here writes to a weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from secateur.pruning.evidence import Request, gather
from secateur.pruning.progress import Progress
from secateur.pruning.recipe import Recipe


def make_masks(
    recipe: Recipe, request: Request, sparsity: float, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Return the masks of the request's targets, by parameter name.

    After round k of n, the fraction (1 - sparsity)^(k / n) is left (Tanaka et al. 2020,
    arXiv:2006.05467, algorithm 1); evidence is gathered anew in each.

    Raises:
        TypeError: as `gather`.
        ValueError: as `gather` and `Recipe.masks`.
    """
    rounds = getattr(recipe.criterion, "rounds", 1)
    if rounds > 1:
        require_reusable(request.calibration, f"in each of {rounds} rounds")
    masks: Mapping[str, Tensor] | None = request.masks
    made: dict[str, Tensor] = {}
    with Progress(rounds) as steps:
        for done in range(1, rounds + 1):
            steps.step("pruning")
            left = (1 - sparsity) ** (done / rounds)
            evidence = gather(replace(request, masks=masks))
            wanted = sparsity if done == rounds else 1 - left
            made = recipe.masks(request.targets, wanted, generator, masks, evidence)
            masks = made
    return made


def require_reusable(calibration: object, when: str) -> None:
    """Raise ValueError if the batches can be read only once.

    Args:
        calibration: the user's batches.
        when: when they are read, for the message.
    """
    if isinstance(calibration, Iterator):
        raise ValueError(
            f"calibration is read {when}, and an iterator can be read only once; give a list or a "
            "DataLoader"
        )
