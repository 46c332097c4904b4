"""The user's own "scores", taken in once, in the parameter's shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from secateur.pruning._shards import whole
from secateur.pruning.evidence._base import Request, source
from secateur.pruning.targets import Target


@source("scores")
def scores(request: Request) -> dict[str, Tensor]:
    """Return them, [out, in] each.

    Raises:
        TypeError: if they are no tensor.
        ValueError: if one is missing or has another shape, or is for no parameter to be pruned.
    """
    criterion: Any = request.criterion
    given = getattr(criterion, "by_name", None)
    if isinstance(given, Mapping):
        named = {name for name, _ in request.model.named_parameters(remove_duplicate=False)}
        strangers = [repr(name) for name in given if name not in named]
        if strangers:
            raise ValueError(
                f"criterion: scores for {', '.join(strangers[:8])}, which is no parameter of the "
                "model"
            )
    found = {}
    for key, target in request.targets.items():
        weight = whole(target.weight)
        came = criterion.own_scores(key, weight.clone())
        found[key] = target.to_matrix(_checked(came, target).to(weight.device))
    return found


def _checked(came: object, target: Target) -> Tensor:
    if not isinstance(came, Tensor):
        raise TypeError(
            f"criterion: the scores of {target.key!r} must be a tensor, not {type(came).__name__}"
        )
    wanted = target.weight.shape
    if came.shape != wanted or came.is_complex():
        raise ValueError(
            f"criterion: the scores of {target.key!r} must be real numbers, {list(wanted)} as the "
            f"parameter is, not {came.dtype} {list(came.shape)}"
        )
    # Whole numbers beyond 2^24 are not float32's; scores of the user's own are compared as float64.
    least = torch.float32 if came.is_floating_point() else torch.float64
    return came.detach().to(torch.promote_types(came.dtype, least))
