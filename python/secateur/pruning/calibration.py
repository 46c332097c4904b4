"""Running a model on the user's batches, to learn something about its layers; nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from secateur.pruning._shards import settle
from secateur.pruning.progress import Progress
from secateur.pruning.running import evaluating, no_fused_attention

Loss = Callable[[nn.Module, Any], Tensor]
"""From the model and one batch to a scalar."""


def batches_of(calibration: object) -> Iterable[Any]:
    """Return the batches that `calibration` means; a single tensor or mapping is one batch.

    Raises:
        TypeError: if it is no iterable of batches; a tuple could be one batch or several.
    """
    if isinstance(calibration, Tensor | Mapping):
        return [calibration]
    if isinstance(calibration, Iterable) and not isinstance(calibration, tuple | str):
        return calibration
    raise TypeError(
        "calibration must be an iterable of batches, each a tensor, a tuple of arguments or a "
        f"mapping of keyword arguments, for example [x], not {type(calibration).__name__}"
    )


def each_batch(model: nn.Module, calibration: object, use: Callable[[Any], None]) -> int:
    """Call `use` with every batch, the model in eval mode; return how many there were.

    Modes, settings and torch's generator on the CPU are afterwards as they were, whatever happens.

    Raises:
        TypeError: as `batches_of`.
        ValueError: if there is no batch.
    """
    batches = batches_of(calibration)
    count = 0
    total = len(batches) if isinstance(batches, Sized) else None
    with ExitStack() as stack:
        stack.callback(settle, model)
        stack.enter_context(evaluating(model))
        stack.enter_context(no_fused_attention())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        steps = stack.enter_context(Progress(total))
        for batch in batches:
            steps.step("calibration")
            use(batch)
            count += 1
    if not count:
        raise ValueError(
            "calibration gave no batch: it is empty, or an iterator that was read to its end "
            "before; give a list or a DataLoader"
        )
    return count


def run(model: nn.Module, calibration: object) -> int:
    """Run the model on every batch, without gradients; return how many there were.

    Raises:
        TypeError: as `batches_of`.
        ValueError: if there is no batch, or the model fails on one.
    """
    with torch.no_grad():
        return each_batch(model, calibration, lambda batch: forward(model, batch))


def forward(model: nn.Module, batch: Any) -> Any:
    """Call the model: a mapping is its keyword arguments, a tuple or list its positional ones.

    Raises:
        ValueError: if the model fails.
    """
    args, kwargs = arguments(batch)
    try:
        return model(*args, **kwargs)
    except Exception as error:
        given = f"{len(args)} positional" if args else f"{len(kwargs)} keyword"
        raise ValueError(
            f"calibration: wanted batches the model runs on, but with {given} arguments its "
            f"forward raised {type(error).__name__}: {error}. A batch is a tensor, a tuple of "
            "positional arguments or a mapping of keyword arguments; leave labels out of it"
        ) from error


def arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and the keyword arguments that a batch means."""
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, tuple | list):
        return tuple(batch), {}
    return (batch,), {}


def first_batch(calibration: object) -> Iterator[Any]:
    """Yield the first batch alone.

    Raises:
        TypeError: as `batches_of`.
    """
    for batch in batches_of(calibration):
        yield batch
        return
