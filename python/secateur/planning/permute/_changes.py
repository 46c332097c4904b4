"""What is done to a model, and how it is undone. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from secateur.nn.permuted_input import PermutedInput
from secateur.planning.permute._spaces import Space
from secateur.pruning.targets import Target


class Change(Protocol):
    """Something done to the model that can be undone."""

    def make(self) -> None: ...

    def undo(self) -> None: ...


@dataclass(frozen=True)
class Fold:
    """A space permuted."""

    space: Space
    order: Tensor
    keys: list[str]

    def make(self) -> None:
        self.space.permute(self.order)

    def undo(self) -> None:
        self.space.permute(self.order.argsort())


@dataclass(frozen=True)
class Gather:
    """A layer put behind a gather of its inputs."""

    model: nn.Module
    target: Target
    order: Tensor
    dim: int

    def make(self) -> None:
        self._permute(self.order)
        wrapped = PermutedInput(self.target.module, self.order, self.dim)
        self._put(self.target.module, wrapped)

    def undo(self) -> None:
        for module in list(self.model.modules()):
            if isinstance(module, PermutedInput) and module.layer is self.target.module:
                self._put(module, module.layer)
        self._permute(self.order.argsort())

    def _permute(self, order: Tensor) -> None:
        weight = self.target.weight
        with torch.no_grad():
            weight.copy_(weight.index_select(1, order.to(weight.device)))

    def _put(self, old: nn.Module, new: nn.Module) -> None:
        for parent in [module for module in self.model.modules() if module is not new]:
            for name, child in parent._modules.items():
                if child is old:
                    parent._modules[name] = new


def make(changes: list[Change], check: Callable[[], None]) -> None:
    """Make all changes and check them; undo them all if anything is wrong."""
    made: list[Change] = []
    try:
        for change in changes:
            change.make()
            made.append(change)
        check()
    except BaseException:
        for change in reversed(made):
            change.undo()
        raise
