"""RigL: drop the smallest weights, grow where the gradient is largest (arXiv:1911.11134)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from secateur.pruning.masks import Masks
from secateur.pruning.targets import Target
from secateur.training._dynamic import Dynamic, Pace, gradient


class RigL(Dynamic):
    """Sparse from the first step to the last, with masks that follow the gradients.

    >>> import torch
    >>> from secateur.pruning import prune
    >>> model = torch.nn.Linear(8, 4)
    >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
    >>> masks = prune(model, 0.75, criterion="random")
    >>> with RigL(masks, optimizer, end=75, every=10) as rigl:
    ...     for _ in range(100):
    ...         optimizer.zero_grad()
    ...         model(torch.randn(16, 8)).square().mean().backward()
    ...         optimizer.step()
    >>> rigl.updates, rigl.masks.kept
    (7, 8)

    It needs no call in the loop: it counts the optimizer's steps, so that one that a GradScaler
    skips is not counted. Before step t, for t = every, 2 every, ... below `end`, in each layer
    int(f n) of the n kept weights, those of the least magnitude, are dropped, and as many grown
    where |gradient| is largest, f = fraction / 2 (1 + cos(pi t / end)): Evci et al. 2020,
    algorithm 1. For these steps gradients arrive unmasked, accumulated over micro-batches and
    reduced over processes as the optimizer gets them; clipping then measures the dense gradient.
    The step goes on with the weights that stayed. A grown weight is 0 after it, and so is its
    optimizer state.

    We differ in this: the paper leaves out the gradient step when masks change, and may give a
    weight it has just dropped back at once; an update whose gradients are not finite is left out.

    Args:
        masks: what is kept at the start, of a model that the optimizer trains; they change. Any
            allocation over the layers will do, with any pattern whose units live or die freely.
        optimizer: what trains the masked parameters, all of them, by `step()` without a closure.
        end: optimizer steps after which masks stay; the paper takes 3/4 of all.
        every: steps between changes.
        fraction: of the kept weights that move at the start, in (0, 1].

    Raises:
        TypeError: if `optimizer` is no torch.optim.Optimizer.
        ValueError: if a number is out of range, the optimizer lacks a parameter, or the masks'
            pattern or scope fixes the number of weights inside a layer.
    """

    name: ClassVar[str] = "rigl"
    wants_gradients: ClassVar[bool] = True

    def __init__(
        self,
        masks: Masks,
        optimizer: torch.optim.Optimizer,
        end: int,
        *,
        every: int = 100,
        fraction: float = 0.3,
    ) -> None:
        super().__init__(masks, optimizer, Pace(end, every, fraction))

    def growth(self, target: Target) -> Tensor | None:
        """Return |gradient|; the reduction over processes came before the absolute value."""
        came = gradient(target)
        return None if came is None else came.abs()
