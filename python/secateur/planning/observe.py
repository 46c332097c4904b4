"""What sizes of call each layer sees, found by running the model once on examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from secateur.planning.size import Size
from secateur.pruning.running import evaluating, no_fused_attention


@dataclass
class Seen:
    """What one module was called with.

    Attributes:
        rows: row counts of x, for attention those of the query.
        images: of a convolution, instead.
        key_rows: for attention, row counts of the key.
        shared: for attention, how many of query, key and value came from one tensor: (3,) all,
            (1, 2) key and value, (1, 1, 1) none.
    """

    rows: set[int] = field(default_factory=set)
    images: set[Size] = field(default_factory=set)
    key_rows: set[int] = field(default_factory=set)
    shared: tuple[int, ...] = ()


def observe(
    model: nn.Module, example_inputs: object, modules: Iterable[nn.Module]
) -> dict[nn.Module, Seen]:
    """Run `model` on the examples (eval mode, no gradient) and note what `modules` see.

    Modes, hooks, settings and torch's generator on the CPU are afterwards as they were.

    Args:
        model: is run once for each example.
        example_inputs: a tensor; a tuple of arguments; a mapping of keyword arguments; or a list
            of such, each a call.
        modules: linear layers, convolutions and attention modules to watch.

    Returns:
        An entry for each module that was called.

    Raises:
        ValueError: if the model fails on an example.
    """
    seen: dict[nn.Module, Seen] = {}
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(no_fused_attention())
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        for module in modules:
            stack.callback(_watched(module, seen).remove)
        for args, kwargs in calls(example_inputs):
            try:
                model(*args, **kwargs)
            except Exception as error:
                given = "positional arguments" if args else "keyword arguments"
                raise ValueError(
                    f"example_inputs: wanted inputs the model runs on, but with "
                    f"{len(args) or len(kwargs)} {given} its forward raised "
                    f"{type(error).__name__}: {error}. Pass a tensor, a tuple of arguments, "
                    "a dict of keyword arguments, or a list of several inputs"
                ) from error
    return seen


def calls(example_inputs: object) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Return (args, kwargs) for each call that `example_inputs` describes."""
    if isinstance(example_inputs, list):
        return [call for one in example_inputs for call in calls(one)]
    if isinstance(example_inputs, Mapping):
        return [((), dict(example_inputs))]
    if isinstance(example_inputs, tuple):
        return [(example_inputs, {})]
    return [((example_inputs,), {})]


def _watched(module: nn.Module, seen: dict[nn.Module, Seen]) -> RemovableHandle:
    """Hook the watcher of its kind on a module."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return module.register_forward_hook(_watch_conv(seen), with_kwargs=True)
    watch = _watch_attention if isinstance(module, nn.MultiheadAttention) else _watch_linear
    return module.register_forward_pre_hook(watch(seen), with_kwargs=True)


def _watch_conv(seen: dict[nn.Module, Seen]) -> Any:
    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor) -> None:
        x = next((a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), None)
        if x is not None and y.numel():
            dims = len(module.kernel_size)
            images = x.shape[0] if x.dim() == dims + 2 else 1
            high, wide = (1, *x.shape[-dims:])[-2:]
            size = Size(y.numel() // module.out_channels, (images, high, wide))
            seen.setdefault(module, Seen()).images.add(size)

    return hook


def _watch_linear(seen: dict[nn.Module, Seen]) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = next((a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), None)
        if x is not None and x.dim() and x.numel():
            seen.setdefault(module, Seen()).rows.add(x.numel() // x.shape[-1])

    return hook


def _watch_attention(seen: dict[nn.Module, Seen]) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        named = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        query, key, value = named["query"], named["key"], named["value"]
        if not query.numel() or not key.numel():
            return
        note = seen.setdefault(module, Seen())
        note.rows.add(query.numel() // query.shape[-1])
        note.key_rows.add(key.numel() // key.shape[-1])
        shared = (3,) if query is key is value else (1, 2) if key is value else (1, 1, 1)
        note.shared = max(note.shared, shared, key=len)

    return hook
