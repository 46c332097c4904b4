"""The "scales" of the BatchNorm that takes a layer's output."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from secateur.pruning._shards import whole
from secateur.pruning.calibration import first_batch, run
from secateur.pruning.evidence._base import Request, source
from secateur.pruning.targets import Target


@source("scales", reads=("calibration",))
def scales(request: Request) -> dict[str, Tensor]:
    """Return the BatchNorm's weight, [out], for every target.

    Which BatchNorm: the criterion's mapping `following`, if it has one; else the module that took
    the very tensor a layer returned, on the first batch; without batches, the same in the graph
    that torch.fx traces.

    Raises:
        ValueError: if a layer has no BatchNorm, or one without a weight or of another width.
    """
    given = getattr(request.criterion, "following", None)
    if given is not None:
        found = _by_name(request, given)
    elif request.calibration is not None:
        found = _watched(request)
    else:
        found = _traced(request)
    return {key: _scale(key, t, found.get(key), request) for key, t in request.targets.items()}


def _by_name(request: Request, following: Mapping[str, str]) -> dict[str, nn.Module]:
    modules = dict(request.model.named_modules(remove_duplicate=False))
    for layer, norm in following.items():
        for name in (layer, norm):
            if name not in modules:
                raise ValueError(f"following: the model has no module {name!r}")
    return {
        key: modules[following[target.name]]
        for key, target in request.targets.items()
        if target.name in following
    }


def _watched(request: Request) -> dict[str, nn.Module]:
    """Return who took what each layer returned, on the first batch."""
    layers = {target.module: key for key, target in request.targets.items()}
    returned: dict[int, tuple[Tensor, str]] = {}
    found: dict[str, nn.Module] = {}

    def after(module: nn.Module, args: Any, y: Any) -> None:
        if isinstance(y, Tensor):
            # The tensor is held, so that its id stays its own.
            returned[id(y)] = (y, layers[module])

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        _, key = returned.pop(id(args[0]), (None, None)) if args else (None, None)
        if key is not None:
            found[key] = module

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.register_forward_hook(after).remove)
        for module in request.model.modules():
            if isinstance(module, _BatchNorm):
                stack.callback(module.register_forward_pre_hook(before).remove)
        run(request.model, first_batch(request.calibration))
    return found


def _traced(request: Request) -> dict[str, nn.Module]:
    """Return the only module that takes what each layer returns, in the traced graph."""
    try:
        graph = fx.Tracer().trace(request.model)
    except Exception as error:
        raise ValueError(
            f"criterion {request.criterion.name!r}: torch.fx cannot trace the model "
            f"({type(error).__name__}: {error}), so it is not known which BatchNorm follows which "
            "layer. Give one batch to watch, calibration=[x], or say it: "
            'BatchNormScale({"conv1": "bn1"})'
        ) from error
    modules = dict(request.model.named_modules(remove_duplicate=False))
    keys = {target.module: key for key, target in request.targets.items()}
    found: dict[str, nn.Module] = {}
    for node in graph.nodes:
        if node.op != "call_module" or modules[node.target] not in keys:
            continue
        users = [user for user in node.users if user.op == "call_module"]
        norms = [modules[user.target] for user in users]
        norms = [norm for norm in norms if isinstance(norm, _BatchNorm)]
        if norms:
            found[keys[modules[node.target]]] = norms[0]
    return found


def _scale(key: str, target: Target, norm: nn.Module | None, request: Request) -> Tensor:
    way_out = (
        f"say it, BatchNormScale({{{target.name!r}: ...}}), or leave it out with "
        f"ignore=[{target.name!r}]"
    )
    if norm is None:
        raise ValueError(
            f"criterion {request.criterion.name!r}: no BatchNorm takes the output of "
            f"{target.name!r} as it is; {way_out}"
        )
    weight = getattr(norm, "weight", None)
    if not isinstance(weight, Tensor):
        raise ValueError(
            f"criterion {request.criterion.name!r}: the {type(norm).__name__} after "
            f"{target.name!r} has no weight (affine=False); {way_out}"
        )
    out = target.matrix.shape[0]
    if weight.shape != (out,):
        raise ValueError(
            f"criterion {request.criterion.name!r}: the {type(norm).__name__} after "
            f"{target.name!r} has {list(weight.shape)} weights, where the layer has {out} outputs; "
            f"{way_out}"
        )
    return whole(weight)
