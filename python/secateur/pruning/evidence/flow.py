"""The synaptic "flow" through a network of absolute weights (Tanaka et al. 2020, 2006.05467)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from secateur.pruning._shards import is_shared_out
from secateur.pruning.calibration import arguments, first_batch
from secateur.pruning.evidence._base import Request, source
from secateur.pruning.running import evaluating, no_fused_attention


@source("flow", reads=("calibration",))
def flow(request: Request) -> dict[str, Tensor]:
    """Return dR/d|w|, [out, in], float64: R the sum of the outputs for an input of ones.

    The model is called in eval mode with copies of its parameters and buffers, absolute and in
    float64; its own are not touched, whatever happens. What a BatchNorm would subtract it adds,
    as if it were a bias; that of a new network is zero.

    Raises:
        ValueError: if there is no batch to take the input's shape from, the model does not run, or
            the flow is not a flow: zero for a whole layer, negative, or not finite.
    """
    name, model = request.criterion.name, request.model
    if request.calibration is None:
        raise ValueError(
            f"criterion {name!r} needs to know what an input looks like: give one batch, "
            "calibration=[x]; its values do not matter"
        )
    if any(is_shared_out(parameter) for parameter in model.parameters()):
        raise ValueError(
            f"criterion {name!r} runs the model with other weights, which cannot be done while "
            "they are sharded over processes; make the masks before sharding"
        )
    state = {key: _absolute(key, tensor) for key, tensor in _tensors(request)}
    for key, mask in (request.masks or {}).items():
        state[key] = state[key] * mask.to(state[key].device)
    weights = [state[key].requires_grad_() for key in request.targets]
    gradients = None
    for batch in first_batch(request.calibration):
        args, kwargs = arguments(batch)
        args, kwargs = tuple(map(_ones, args)), {word: _ones(x) for word, x in kwargs.items()}
        with evaluating(model), no_fused_attention(), torch.enable_grad():
            total = _sum(_called(request, state, args, kwargs))
            gradients = torch.autograd.grad(total, weights, allow_unused=True)
    if gradients is None:
        raise ValueError(f"calibration gave no batch; criterion {name!r} needs one, for its shape")
    return {
        key: _checked(key, target.to_matrix(g) if g is not None else None, request)
        for (key, target), g in zip(request.targets.items(), gradients, strict=True)
    }


def _tensors(request: Request) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers by the names the targets go by; of a shared one, that name."""
    shared = {id(target.weight): key for key, target in request.targets.items()}
    for name, parameter in request.model.named_parameters():
        yield shared.get(id(parameter), name), parameter
    yield from request.model.named_buffers()


def _absolute(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.detach().clone()
    sign = -1 if name.endswith("running_mean") else 1
    return sign * tensor.detach().double().abs()


def _ones(x: Any) -> Any:
    """Return ones for one sample; what is no floating tensor, such as token ids, stays."""
    if not isinstance(x, Tensor) or not x.dim():
        return x
    return torch.ones_like(x[:1], dtype=torch.float64) if x.is_floating_point() else x[:1]


def _called(
    request: Request, state: Mapping[str, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    try:
        return functional_call(request.model, dict(state), args, kwargs)
    except Exception as error:
        raise ValueError(
            f"criterion {request.criterion.name!r}: the model does not run in float64 on ones "
            f"shaped like the first sample of the first batch; its forward raised "
            f"{type(error).__name__}: {error}"
        ) from error


def _sum(output: Any) -> Tensor:
    """Return the sum of all floating tensors in what a model returned."""
    if isinstance(output, Tensor):
        return output.sum() if output.is_floating_point() else torch.zeros((), dtype=torch.float64)
    parts = list(output.values()) if isinstance(output, Mapping) else output
    total = torch.zeros((), dtype=torch.float64)
    for part in parts if isinstance(parts, list | tuple) else ():
        total = total + _sum(part)
    return total


def _checked(key: str, gradient: Tensor | None, request: Request) -> Tensor:
    name = request.criterion.name
    if gradient is None or not bool(gradient.any()):
        raise ValueError(
            f"criterion {name!r}: no flow passes through {key!r}; it does not reach the output, or "
            "what is left of another layer, or an activation, lets nothing through"
        )
    if not bool((gradient >= 0).all()) or not bool(gradient.isfinite().all()):
        raise ValueError(
            f"criterion {name!r}: more weight in {key!r} does not mean more flow; something after "
            "it, such as LayerNorm or softmax, is no increasing function of its input, and the "
            "criterion says nothing about such networks"
        )
    return gradient
