"""Going back to an early point of training with later masks: lottery tickets."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secateur.pruning.masks import Masks
from secateur.training.attach import per_weight_state


class Snapshot:
    """What a model and its optimizer are now, to go back to later.

    >>> import torch
    >>> from secateur.pruning import prune
    >>> model = torch.nn.Linear(8, 4)
    >>> optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    >>> start = Snapshot(model, optimizer)
    >>> model(torch.randn(16, 8)).square().mean().backward()
    >>> optimizer.step()
    >>> masks = prune(model, 0.75)
    >>> start.rewind(masks)
    >>> int(model.weight.count_nonzero()), len(optimizer.state)
    (8, 0)

    A lottery ticket is found by training, pruning what is left by 20 %, rewinding the rest to
    step k and training again, k being 0 (Frankle and Carbin 2019, arXiv:1803.03635) or 0.1 to 7 %
    of the training (arXiv:1903.01611). Weights, biases and buffers go back, BatchNorm's statistics
    among them, and so does the optimizer: momentum of the trained weights would be a memory of the
    future.

    Args:
        model: any module.
        optimizer: what trains it; None leaves optimizers alone.
        scheduler: its learning rate schedule, anything with state_dict and load_state_dict.

    Raises:
        TypeError: if the optimizer or the scheduler is of the wrong kind.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any | None = None,
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer | None):
            came = type(optimizer).__name__
            raise TypeError(f"optimizer must be a torch.optim.Optimizer or None, not {came}")
        if scheduler is not None and not hasattr(scheduler, "load_state_dict"):
            came = type(scheduler).__name__
            raise TypeError(f"scheduler must have state_dict and load_state_dict; {came} has not")
        self._model, self._optimizer, self._scheduler = model, optimizer, scheduler
        self._state = self._now()

    def rewind(self, masks: Masks | None) -> None:
        """Set everything back to what it was, in place, but for what the masks remove.

        Gradients are let go.

        Args:
            masks: what is removed now, and stays removed: zero in the weights and in the
                optimizer's state. None brings every weight back.

        Raises:
            ValueError: if parameters, buffers or the optimizer's groups are no longer the same;
                then nothing has changed.
        """
        self._check(self._state)
        pruned = {} if masks is None else masks.parameters(self._model)
        for name, tensor in _tensors(self._model):
            tensor.copy_(self._state["tensors"][name])
        for parameter in self._model.parameters():
            parameter.grad = None
        self._load_optimizer(self._state["optimizer"])
        if self._scheduler is not None:
            self._scheduler.load_state_dict(copy.deepcopy(self._state["scheduler"]))
        for name, parameter in pruned.items():
            assert masks is not None
            state = [] if self._optimizer is None else per_weight_state(self._optimizer, parameter)
            masks.zero_(name, parameter, *state)

    def rewind_schedule(self) -> None:
        """Set the learning rate and its schedule back, in place; weights stay as trained.

        Learning rate rewinding (Renda et al. 2020, arXiv:2003.02389): as good as a ticket and
        simpler. The optimizer's options (lr, momentum, betas, ...) go back; its memory stays.

        Raises:
            ValueError: if there is no optimizer, or its groups are no longer the same; then
                nothing has changed.
        """
        if self._optimizer is None:
            raise ValueError("this snapshot has no optimizer; take it with Snapshot(model, opt)")
        self._check(self._state)
        now, then = self._optimizer.state_dict(), self._state["optimizer"]
        self._load_optimizer({"state": now["state"], "param_groups": then["param_groups"]})
        if self._scheduler is not None:
            self._scheduler.load_state_dict(copy.deepcopy(self._state["scheduler"]))

    def state_dict(self) -> dict[str, Any]:
        """Return the snapshot itself, for torch.save: runs that stop can still go back."""
        return copy.deepcopy(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; the model is not touched until `rewind`.

        Raises:
            ValueError: if it is of another model or optimizer; then nothing has changed.
        """
        self._check(state)
        self._state = copy.deepcopy(dict(state))

    def _now(self) -> dict[str, Any]:
        return {
            "tensors": {name: tensor.clone() for name, tensor in _tensors(self._model)},
            "optimizer": self._optimizer and copy.deepcopy(self._optimizer.state_dict()),
            "scheduler": self._scheduler and copy.deepcopy(self._scheduler.state_dict()),
        }

    def _load_optimizer(self, state: Mapping[str, Any]) -> None:
        if self._optimizer is not None:
            self._optimizer.load_state_dict(copy.deepcopy(dict(state)))

    def _check(self, state: Mapping[str, Any]) -> None:
        """Raise ValueError if `state` no longer fits model, optimizer and scheduler."""
        then = state["tensors"]
        now = dict(_tensors(self._model))
        odd = sorted(then.keys() ^ now.keys())
        if odd:
            raise ValueError(
                f"the model has changed since the snapshot: {', '.join(odd[:8])} then or now only"
            )
        for name, tensor in now.items():
            if tensor.shape != then[name].shape:
                wanted, came = list(then[name].shape), list(tensor.shape)
                raise ValueError(f"{name!r} was {wanted} at the snapshot, and is {came} now")
        for word, thing in (("optimizer", self._optimizer), ("scheduler", self._scheduler)):
            if (thing is None) != (state[word] is None):
                raise ValueError(
                    f"of the state and this snapshot, the {word} is in one and not in the other; "
                    f"give Snapshot(...) what the state was made with"
                )
        if self._optimizer is not None:
            _check_groups(self._optimizer, state["optimizer"])


def _check_groups(optimizer: torch.optim.Optimizer, then: Mapping[str, Any]) -> None:
    wanted = [len(group["params"]) for group in then["param_groups"]]
    came = [len(group["params"]) for group in optimizer.param_groups]
    if wanted != came:
        raise ValueError(
            f"the optimizer had groups of {wanted} parameters at the snapshot, and has {came} now"
        )


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers by name, detached; the ones no state_dict has as well."""
    for name, parameter in model.named_parameters():
        yield name, parameter.detach()
    for name, buffer in model.named_buffers():
        yield name, buffer.detach()
