"""Does the shrunk model compute what the masked one does? Asked of the example inputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from secateur.pruning.running import evaluating, no_fused_attention
from secateur.pruning.structure.apply import Kept
from secateur.pruning.structure.models import tensors_in

Call = tuple[tuple[Any, ...], Mapping[str, Any]]


@torch.no_grad()
def masked(model: nn.Module, kept: Kept) -> nn.Module:
    """Return a copy of `model`, of the old sizes, with every slice that goes set to zero.

    That is what a removed channel means: all it has in weights, biases and norms is zero, so it
    is zero itself and adds nothing to anything. Buffers (running statistics) are left alone.

    Args:
        model: before it is shrunk.
        kept: what `apply` would be given.
    """
    twin = copy.deepcopy(model)
    parameters = dict(twin.named_parameters(remove_duplicate=False))
    for name, dims in kept["tensors"].items():
        parameter = parameters.get(name)
        for dim, places in enumerate(dims if parameter is not None else ()):
            if places is not None:
                assert parameter is not None
                goes = torch.ones(parameter.shape[dim], dtype=torch.bool, device=parameter.device)
                goes[places] = False
                parameter.index_fill_(dim, goes.nonzero().flatten(), 0)
    for name, module in twin.named_modules():
        # Its default eps follows the type it computes in; here it is that of the type it has.
        if isinstance(module, nn.RMSNorm) and "eps" in kept["attributes"].get(name, ()):
            module.eps = torch.finfo(module.weight.dtype).eps if module.eps is None else module.eps
    return twin


def outputs(model: nn.Module, call: Call, dtype: torch.dtype | None = None) -> list[Tensor]:
    """Return the tensors that one call gives, in eval mode, drawing the same random numbers.

    Args:
        model: to run.
        call: its arguments.
        dtype: what to convert floating inputs to; None leaves them.
    """

    def converted(x: Any) -> Any:
        plain = isinstance(x, Tensor) and x.is_floating_point() and dtype is not None
        return x.to(dtype) if plain else copy.copy(x) if isinstance(x, list | dict) else x

    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluating(model))
        stack.enter_context(no_fused_attention())
        stack.enter_context(torch.random.fork_rng())
        torch.manual_seed(0)
        args, kwargs = tree_map(converted, call)
        return [y.clone() for y in tensors_in(model(*args, **kwargs))]


def check(small: nn.Module, reference: nn.Module, calls: Sequence[Call], exact: bool) -> None:
    """Raise unless the small model gives what the reference gives.

    Both run in float64. They may differ by the unit roundoff of the model's own type, relative to
    the largest element, and by as much as the reference itself, run in its own type, differs from
    float64: by no more than rounding does anyway.

    Args:
        small: the shrunk model.
        reference: the masked one.
        calls: what to run both on.
        exact: False to look at the sizes of the results alone.

    Raises:
        RuntimeError: if it does not run, or gives something else.
    """
    types = [p.dtype for p in reference.parameters() if p.is_floating_point()]
    unit = max((torch.finfo(t).eps / 2 for t in types), default=2.0**-53)
    wide_small, wide = copy.deepcopy(small).double(), copy.deepcopy(reference).double()
    for call in calls:
        own = outputs(reference, call)
        try:
            outputs(small, call)
            came = outputs(wide_small, call, torch.float64)
        except Exception as error:
            raise RuntimeError(
                f"shrink: the smaller model does not run ({type(error).__name__}: {error}). The "
                "model given is as it was; leave out the layers concerned with ignore=[...]"
            ) from error
        truth = outputs(wide, call, torch.float64)
        if [y.shape for y in came] != [y.shape for y in truth]:
            sizes = [[list(y.shape) for y in ys] for ys in (truth, came)]
            raise RuntimeError(f"shrink: results of sizes {sizes[0]} became {sizes[1]}")
        for mine, its, rounded in zip(came, truth, own, strict=True) if exact else ():
            _compare(mine, its, rounded, unit)


def _compare(came: Tensor, truth: Tensor, rounded: Tensor, unit: float) -> None:
    if not truth.is_floating_point() or not truth.numel():
        return
    finite = truth.isfinite()
    error = (came - truth)[finite].abs().max() if finite.any() else torch.zeros(())
    noise = (rounded.double() - truth)[finite].abs().max() if finite.any() else torch.zeros(())
    allowed = unit * truth[finite].abs().max() + noise if finite.any() else torch.zeros(())
    if not (error <= allowed) or not torch.equal(came.isfinite(), finite):
        raise RuntimeError(
            f"shrink: the smaller model differs from the masked one by {error:.3g}, more than "
            f"rounding does ({allowed:.3g}). The model given is as it was. Something in it depends "
            "on the number of channels in a way that was not seen; leave those layers out with "
            "ignore=[...]"
        )
