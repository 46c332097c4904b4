"""What a criterion remembers of a training run: updated before each step of the optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from secateur.pruning._shards import whole
from secateur.pruning.targets import Target


class History:
    """Hands weights and gradients to a criterion's `remember`, as an optimizer is about to step.

    So weights are those that the gradients were taken at; gradients are accumulated over
    micro-batches, unscaled, clipped, and those of removed weights zero. A step that a GradScaler
    skips is not seen.

    Args:
        criterion: has a `remember`.
        targets: the weights, by parameter name.

    Attributes:
        values: what is remembered, [out, in], in float32 at least; zeros to begin with.
    """

    def __init__(self, criterion: Any, targets: Mapping[str, Target]) -> None:
        self._criterion, self._targets = criterion, targets
        self.values = {key: _zeros(target) for key, target in targets.items()}
        self._handle: RemovableHandle | None = None

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Look at every step of `optimizer` from now on, until `detach`."""
        self._handle = optimizer.register_step_pre_hook(lambda *_: self._before_step())

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Take over what `values` was; the tensors are copied."""
        for key, value in values.items():
            self.values[key] = value.to(self.values[key]).clone()

    def detach(self) -> None:
        """Let go of the optimizer."""
        if self._handle is not None:
            self._handle.remove()

    def _before_step(self) -> None:
        for key, target in self._targets.items():
            gradient = target.weight.grad
            if gradient is not None and gradient.layout == torch.strided:
                came = target.to_matrix(whole(gradient))
                self.values[key] = self._criterion.remember(self.values[key], target.matrix, came)


def _zeros(target: Target) -> Tensor:
    matrix = target.matrix
    dtype = torch.promote_types(matrix.dtype, torch.float32)
    return torch.zeros(matrix.shape, dtype=dtype, device=matrix.device)
