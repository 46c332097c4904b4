"""The masked model, made independently of the package, and what it must be equal to."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from secateur.pruning import structure


def masked(model: nn.Module, kept: dict[str, Any]) -> nn.Module:
    """A copy of `model` with everything outside `kept` set to zero, one slice at a time."""
    twin = copy.deepcopy(model)
    parameters = dict(twin.named_parameters())
    for name, dims in kept["tensors"].items():
        if name not in parameters:
            continue
        data = parameters[name].data
        for dim, places in enumerate(dims):
            for i in range(data.shape[dim]) if places is not None else ():
                if i not in places:
                    data.select(dim, i).zero_()
    for name, module in twin.named_modules():
        if isinstance(module, nn.RMSNorm) and module.eps is None and name in kept["attributes"]:
            module.eps = torch.finfo(torch.float32).eps  # the default, in the type of the weights
    return twin


@torch.no_grad()
def result(model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    wide = copy.deepcopy(model).double().eval()
    y = wide(*(x.double() if x.is_floating_point() else x for x in inputs))
    return y if isinstance(y, Tensor) else y[0]


def assert_equal_to_masked(
    small: nn.Module, model: nn.Module, inputs: tuple[Tensor, ...], exactly: bool = False
) -> None:
    """Raise unless small(x) is the masked model's result, both in float64.

    `exactly`: to the bit, for whole numbers. Else to the unit roundoff of float32, the type of
    the weights: exact results would be the same float32 number, or its neighbour. float64 rounds
    2^29 times finer, which leaves room for sums of some thousand terms one after another.
    """
    y, truth = result(small, inputs), result(masked(model, structure.report(small).kept), inputs)
    assert y.shape == truth.shape
    assert truth.abs().max() > 0, "a result of zeros proves nothing"
    if exactly:
        assert torch.equal(y, truth)
    else:
        error = (y - truth).abs().max()
        assert error <= truth.abs().max() * 2.0**-24, f"differs by {error:.3g}"


@torch.no_grad()
def whole_numbers(model: nn.Module) -> None:
    """Give a model small whole numbers throughout: float64 then adds them without rounding."""
    for module in model.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.is_floating_point():
                tensor.copy_(torch.randint(-1, 2, tensor.shape))
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 2.0**-100  # adds nothing, and torch 2.11 wants some
            assert module.running_var is not None
            module.running_var.fill_(1)
            module.weight.copy_(torch.randint(1, 3, module.weight.shape))
