"""What a criterion remembers of a training run: "history", kept by whoever runs the training."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.evidence._base import Request, source


@source("history")
def history(request: Request) -> dict[str, Tensor]:
    """Return it, [out, in] each.

    Raises:
        ValueError: if there is none.
    """
    if request.history is None:
        raise ValueError(
            f"criterion {request.criterion.name!r} follows a training run step by step: use "
            f"GradualPruner(model, optimizer, schedule, criterion={request.criterion.name!r})"
        )
    return {key: request.history[key] for key in request.targets}
