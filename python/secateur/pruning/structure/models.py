"""Models and what they return: which tensors are in them, and whether they can be watched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def check_model(model: nn.Module) -> None:
    """Raise ValueError, with the way out, if a model cannot be watched."""
    for name, module in model.named_modules():
        if type(module).__name__ == "OptimizedModule":
            raise ValueError(
                f"model: {name or 'it'} is compiled; shrink the module that was compiled (its "
                "_orig_mod), and compile the result"
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(f"model: {name or 'it'} is a ScriptModule; give the module it is of")
    for name, tensor in tensors_of(model):
        if isinstance(
            tensor, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer
        ):
            raise ValueError(f"model: {name!r} has no shape yet; run the model once")
        if tensor.is_meta:
            raise ValueError(f"model: {name!r} is on the meta device; load its values first")


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors inside lists, tuples, mappings and plain objects."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from tensors_in(item)
    elif hasattr(value, "__dict__") and not isinstance(value, type | nn.Module):
        yield from tensors_in(vars(value))


def tensors_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers by name, each once."""
    yield from model.named_parameters()
    yield from model.named_buffers()
