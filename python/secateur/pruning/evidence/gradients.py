"""The "gradient" and "gradient_squares", of a loss on batches or as the user left them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secateur.pruning._shards import is_shared_out, whole
from secateur.pruning.calibration import Loss, each_batch
from secateur.pruning.evidence._base import Request, source
from secateur.pruning.targets import Target

_EXAMPLE = "loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1])"


@source("gradient", reads=("calibration", "loss"))
def gradient(request: Request) -> dict[str, Tensor]:
    """Return the gradients, summed over the batches, [out, in]; without batches, `.grad`.

    Raises:
        ValueError: if a weight is frozen or has no gradient, a gradient is not finite, or one of
            batches and loss is missing.
    """
    return _summed(request, lambda gradient: gradient)


@source("gradient_squares", reads=("calibration", "loss"))
def gradient_squares(request: Request) -> dict[str, Tensor]:
    """Return the squares of the gradients, summed over the batches, [out, in].

    Raises:
        ValueError: as `gradient`.
    """
    return _summed(request, Tensor.square)


def require_trained(targets: Mapping[str, Target], criterion: str) -> None:
    """Raise ValueError, naming it, if one of the weights takes no gradient."""
    for key, target in targets.items():
        if not target.weight.requires_grad:
            raise ValueError(
                f"criterion {criterion!r} needs the gradient of {key!r}, which is frozen "
                f"(requires_grad=False). Thaw it, or leave it out with ignore=[{target.name!r}]"
            )


def _summed(request: Request, term: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    targets, name = dict(request.targets), request.criterion.name
    require_trained(targets, name)
    if request.calibration is None and request.loss is None:
        found = {key: term(_left(target, key, name)) for key, target in targets.items()}
    elif request.calibration is None or request.loss is None:
        missing = "calibration=[...]" if request.calibration is None else _EXAMPLE
        raise ValueError(
            f"criterion {name!r} needs batches and a loss to take gradients of; give {missing} too"
        )
    else:
        found = _from_batches(request, request.loss, term)
    for key, gradients in found.items():
        if not bool(gradients.isfinite().all()):
            raise ValueError(
                f"the gradient of {key!r} holds NaN or inf; criterion {name!r} cannot rank by it"
            )
    return found


def _left(target: Target, key: str, criterion: str) -> Tensor:
    """Return `.grad` as the user left it, [out, in]."""
    gradient = target.weight.grad
    if gradient is None:
        raise ValueError(
            f"criterion {criterion!r} needs gradients, and {key!r} has none: call "
            f"loss.backward() first, or give calibration=[...] and {_EXAMPLE}"
        )
    if gradient.layout != torch.strided:
        raise ValueError(
            f"the gradient of {key!r} is stored as {gradient.layout}, not dense; leave it out with "
            f"ignore=[{target.name!r}]"
        )
    return _wide(target.to_matrix(whole(gradient)))


def _from_batches(
    request: Request, loss: Loss, term: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Return the terms of each batch's gradient, summed. No `.grad` is touched."""
    weights = {key: target.weight for key, target in request.targets.items()}
    if any(is_shared_out(weight) for weight in weights.values()):
        raise ValueError(
            "loss: the weights are sharded over processes, and only backward() reduces their "
            "gradients. Call it yourself, and leave calibration and loss out"
        )
    sums: dict[str, Tensor] = {}

    def use(batch: Any) -> None:
        with torch.enable_grad():
            value = _scalar(loss, request.model, batch)
            gradients = torch.autograd.grad(value, list(weights.values()), allow_unused=True)
        for (key, target), came in zip(request.targets.items(), gradients, strict=True):
            if came is not None:
                found = term(_wide(target.to_matrix(came.detach())))
                sums[key] = sums[key] + found if key in sums else found

    each_batch(request.model, request.calibration, use)
    for key, target in request.targets.items():
        if key not in sums:
            raise ValueError(
                f"the loss does not depend on {key!r}, so criterion {request.criterion.name!r} "
                f"knows nothing of it; leave it out with ignore=[{target.name!r}]"
            )
    return sums


def _scalar(loss: Loss, model: nn.Module, batch: Any) -> Tensor:
    value = loss(model, batch)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        came = f"{list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            "loss: wanted a function (model, batch) -> a scalar tensor that depends on the "
            f"weights, for example {_EXAMPLE}; it returned {came}"
        )
    return value.sum()


def _wide(gradient: Tensor) -> Tensor:
    return gradient.to(torch.promote_types(gradient.dtype, torch.float32))
