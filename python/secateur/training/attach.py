"""Masks held over an optimizer: what is removed stays zero, bit for bit, whatever the loop does.

It uses hooks alone: parameters keep their names, stay leaves and stay the optimizer's.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import torch
from torch import Tensor, nn

from secateur.pruning.masks import Masks


class Attachment:
    """Holds masks over an optimizer, from construction until `detach` or the end of a `with`.

    After every step the removed weights and their optimizer state (momentum, second moments) are
    set to zero; gradients of removed weights are zeroed as they arrive, so that clipping measures
    only what is there, and training goes as if the removed weights did not exist.

    Args:
        masks: made for a model whose parameters the optimizer holds. Replacing their content, as
            `GradualPruner` does, takes effect at the next step.
        optimizer: any torch.optim.Optimizer.

    Attributes:
        masks: as given.
        dense_gradients: while true, gradients of removed weights arrive as they are, for whoever
            decides by them which weights shall come back. False to begin with.

    Raises:
        TypeError: if `optimizer` is no torch.optim.Optimizer.
        ValueError: if it holds none of the masked parameters, or the masks have no model.
    """

    def __init__(self, masks: Masks, optimizer: torch.optim.Optimizer) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(
                f"optimizer must be a torch.optim.Optimizer, not {type(optimizer).__name__}"
            )
        self.masks = masks
        self.dense_gradients = False
        self._optimizer = optimizer
        self._parameters = masks.parameters()
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not any(id(parameter) in held for parameter in self._parameters.values()):
            raise ValueError(
                "the optimizer holds none of the masked parameters; build it from the model that "
                "was pruned, not from a copy"
            )
        self._handles = [optimizer.register_step_post_hook(lambda *_: self._after_step())]
        for name, parameter in self._parameters.items():
            if parameter.requires_grad:
                hook = self._gradient_hook(name)
                handle = parameter.register_post_accumulate_grad_hook(hook)
                self._handles.append(handle)
        self.apply_()

    def apply_(self) -> None:
        """Zero what is removed, in the weights, their gradients and their optimizer state."""
        for name, parameter in self._parameters.items():
            self._zero_gradient(name, parameter)
        self._after_step()

    def detach(self) -> None:
        """Let go: the weights keep their zeros until something trains them. Twice is once."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> Attachment:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.detach()

    def _after_step(self) -> None:
        for name, parameter in self._parameters.items():
            self.masks.zero_(name, parameter, *per_weight_state(self._optimizer, parameter))

    def _gradient_hook(self, name: str) -> Callable[[Tensor], None]:
        def arrived(parameter: Tensor) -> None:
            if not self.dense_gradients:
                self._zero_gradient(name, parameter)

        return arrived

    def _zero_gradient(self, name: str, parameter: Tensor) -> None:
        gradient = parameter.grad
        if gradient is not None and gradient.layout == torch.strided:
            self.masks.zero_(name, gradient)


def attached(masks: Masks, optimizer: torch.optim.Optimizer) -> Attachment:
    """Hold `masks` over `optimizer`; see `Attachment`.

    >>> import torch
    >>> from secateur.pruning import prune
    >>> model = torch.nn.Linear(8, 4)
    >>> optimizer = torch.optim.AdamW(model.parameters())
    >>> masks = prune(model, 0.75)
    >>> with attached(masks, optimizer):
    ...     for _ in range(3):
    ...         model(torch.randn(16, 8)).square().mean().backward()
    ...         optimizer.step()
    >>> int(model.weight.count_nonzero())
    8
    """
    return Attachment(masks, optimizer)


def per_weight_state(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> list[Tensor]:
    """Return what the optimizer remembers of each weight: momentum, second moments and the like.

    State of another shape (step counts, Adafactor's rows and columns) belongs to no one weight.
    """
    state = optimizer.state.get(parameter, {}).values()
    # Quantised state is left alone: its code for zero is not 0.
    return [
        value
        for value in state
        if isinstance(value, Tensor)
        and value.shape == parameter.shape
        and value.is_floating_point()
    ]
