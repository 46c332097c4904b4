"""How large the inputs of each layer are: "input_norms", from the user's batches.

One float64 vector per layer and group of rows is all that is kept; activations never are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from secateur.pruning.calibration import run
from secateur.pruning.evidence._base import Request, source
from secateur.pruning.evidence._squares import conv_squares, row_squares
from secateur.pruning.targets import Target

_PROJECTIONS = {"q_proj_weight": "query", "k_proj_weight": "key", "v_proj_weight": "value"}
Squares = Callable[[Any, tuple[Any, ...], dict[str, Any]], Tensor]
"""From a module and the arguments of one call to sums of squares, float [groups, in]."""


@source("input_norms", reads=("calibration",))
def input_norms(request: Request) -> dict[str, Tensor]:
    """Return sqrt(sum of x^2) over all that each input was, [groups, in], in float64.

    A layer that several modules share, or that is called several times, adds up all its calls.
    Padded tokens count like others: no layer is told of them.

    Raises:
        ValueError: if there are no batches, a layer never ran, or its inputs are not finite.
    """
    if request.calibration is None:
        raise ValueError(
            f"{request.asker('input_norms')} looks at the inputs of layers: give batches to run "
            "the model on, calibration=[...]"
        )
    sums: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for key, target in request.targets.items():
            for module, squares in _watched(request.model, target):
                hook = _adder(sums, key, squares)
                handle = module.register_forward_pre_hook(hook, with_kwargs=True)
                stack.callback(handle.remove)
        run(request.model, request.calibration)
    _check(request, sums)
    return {key: total.sqrt() for key, total in sums.items()}


def _adder(sums: dict[str, Tensor], key: str, squares: Squares) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found = _widest(squares(module, args, kwargs))
        sums[key] = sums[key] + found if key in sums else found

    return hook


def _check(request: Request, sums: Mapping[str, Tensor]) -> None:
    """Raise ValueError for the first layer that ran on what is not finite, or for one that did not.

    `sums` is in the order in which layers first ran, so that the one named is where it begins.
    """
    for key, total in sums.items():
        if not bool(total.isfinite().all()):
            raise ValueError(
                f"the inputs of {key!r} hold NaN or inf, or their squares overflow: no layer that "
                "ran before it has such inputs. Look at the batches and at the layers before"
            )
    for key, target in request.targets.items():
        if key not in sums:
            raise ValueError(
                f"{key!r} never ran on the calibration batches, so "
                f"{request.asker('input_norms')} knows nothing of its inputs. Leave it out with "
                f"ignore=[{target.name!r}], or give batches that reach it through its forward"
            )


def _watched(model: nn.Module, target: Target) -> Iterator[tuple[nn.Module, Squares]]:
    """Yield each module to hook, and what to do with the arguments of its calls."""
    if isinstance(target.module, nn.MultiheadAttention):
        yield target.module, _projection(target.parameter)
        return
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention) and module.out_proj is target.module:
            yield module, _heads
            return
    for module in model.modules():
        held = module._parameters.values()
        if type(module) is type(target.module) and any(p is target.weight for p in held):
            yield module, _convolution if target.layout == "conv" else _linear


def _linear(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return row_squares(_argument(args, kwargs))


def _convolution(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return conv_squares(_argument(args, kwargs), module)


def _projection(parameter: str) -> Squares:
    """Return what sums up the inputs of an attention's projection: query, key and value in turn."""
    words = [_PROJECTIONS[parameter]] if parameter in _PROJECTIONS else list(_PROJECTIONS.values())

    def squares(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        named = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        return torch.cat([row_squares(named[word]) for word in words])

    return squares


def _heads(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Sum up the inputs of an attention's output projection, which is applied by no module.

    The attention is run once more, with the identity in the projection's place.
    """
    projection, twin = copy.copy(module.out_proj), copy.copy(module)
    identity = torch.eye(module.embed_dim).to(projection.weight)
    projection._parameters = {"weight": nn.Parameter(identity, requires_grad=False), "bias": None}
    twin._modules = {**module._modules, "out_proj": projection}
    return row_squares(twin.forward(*args, **kwargs)[0])


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    x: Tensor = next(a for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
    return x


def _widest(sums: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    return sums if sums.device.type == "mps" else sums.double()
