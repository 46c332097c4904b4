"""The masks of a model, by parameter name, beside the model: it keeps its names and its leaves."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from secateur.pruning._bits import zero_bits_
from secateur.pruning._shards import Parts, here, settle, whole
from secateur.pruning._table import table
from secateur.pruning.reparametrised import mask_of
from secateur.pruning.selectors import Selectors
from secateur.pruning.statuses import Status, Wish, listing, statuses
from secateur.pruning.targets import select


@dataclass(frozen=True)
class Origin:
    """How masks were made, in the words a user types.

    Attributes:
        criterion: for example "magnitude".
        pattern: for example "2:4".
        scope: for example "layer".
        sparsity: the fraction asked for.
        allocation: for example "erk".
        shares: the fraction of units each layer gave up, by parameter name, where the allocation
            made them differ.
    """

    criterion: str
    pattern: str
    scope: str
    sparsity: float
    allocation: str = "uniform"
    shares: Mapping[str, float] | None = field(default=None, repr=False)


class Masks(Mapping[str, Tensor]):
    """Which weights are kept: bool tensors shaped like the parameters, true where kept.

    It refers to its model weakly, so masks do not keep a model alive.

    Args:
        masks: masks by parameter name.
        model: the model they belong to, for `apply_` and `attached`.
        origin: how they were made, if known; `verify` checks counts against it.
        wish: what was asked for, if known; `report` says by it why a parameter was left out.
    """

    def __init__(
        self,
        masks: Mapping[str, Tensor],
        model: nn.Module | None = None,
        origin: Origin | None = None,
        wish: Wish | None = None,
    ) -> None:
        self._masks = {name: _checked(name, mask) for name, mask in masks.items()}
        self._model = None if model is None else weakref.ref(model)
        self._parts = Parts()
        self._wish = wish
        self.origin = origin

    @classmethod
    def from_model(
        cls, model: nn.Module, targets: Selectors | None = None, ignore: Selectors = ()
    ) -> Masks:
        """Return masks of the zeros that the weights have now.

        A weight behind another library's mask gives that mask, see `secateur.compat.adopt`.

        Args:
            model: any module.
            targets: as in `prune`.
            ignore: as in `prune`.

        Raises:
            ValueError: as `secateur.pruning.targets.select`.
        """
        masks = {}
        for key, target in select(model, targets, ignore, looking=True).items():
            given = mask_of(target.module, target.parameter)
            masks[key] = whole(target.weight) != 0 if given is None else given
        return cls(masks, model, wish=Wish(targets, ignore))

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Masks):
            return NotImplemented
        return self.keys() == other.keys() and all(torch.equal(self[k], other[k]) for k in self)

    __hash__ = None  # type: ignore[assignment]  # masks change while a schedule runs

    @property
    def kept(self) -> int:
        """How many weights are kept, in all."""
        return sum(int(mask.count_nonzero()) for mask in self._masks.values())

    @property
    def total(self) -> int:
        """How many weights the masks cover, in all."""
        return sum(mask.numel() for mask in self._masks.values())

    @property
    def sparsity(self) -> float:
        """The fraction of the covered weights that is removed."""
        return 1 - self.kept / self.total if self.total else 0.0

    @property
    def model(self) -> nn.Module:
        """The model the masks were made for.

        Raises:
            ValueError: if there is none, or it is gone.
        """
        model = None if self._model is None else self._model()
        if model is None:
            raise ValueError("these masks have no model, or it is gone; give one: model=...")
        return model

    def report(self, model: nn.Module | None = None) -> tuple[Status, ...]:
        """Return what became of every parameter of the model, and why; counted, not asked.

        Args:
            model: where to look; None means the model the masks were made for. If there is none,
                or it is gone, so is the report: ().
        """
        if model is None:
            model = None if self._model is None else self._model()
        return () if model is None else statuses(model, self, self._wish)

    def parameters(self, model: nn.Module | None = None) -> dict[str, nn.Parameter]:
        """Return the parameters that the masks belong to.

        Args:
            model: where to look them up; None means the model the masks were made for.

        Raises:
            ValueError: if there is no model, or it lacks a parameter, or a shape differs.
        """
        model = self.model if model is None else model
        settle(model)
        named = dict(model.named_parameters(remove_duplicate=False))
        for name, mask in self._masks.items():
            if name not in named:
                raise ValueError(
                    f"the model has no parameter {name!r}, which is masked; if another library "
                    "has pruned it, make it plain: secateur.compat.adopt(model)"
                )
            if named[name].shape != mask.shape:
                wanted, came = list(mask.shape), list(named[name].shape)
                raise ValueError(f"the mask of {name!r} is {wanted}, the parameter is {came}")
        return {name: named[name] for name in self._masks}

    def apply_(self, model: nn.Module | None = None) -> None:
        """Set the removed weights to zero, in place.

        Args:
            model: as in `parameters`; a copy of the model will do.

        Raises:
            ValueError: as `parameters`; then no weight has changed.
        """
        for name, parameter in self.parameters(model).items():
            self.zero_(name, parameter)

    def zero_(self, name: str, *tensors: Tensor) -> None:
        """Set `tensors`, shaped like the parameter `name`, to zero where that is removed.

        The mask moves to the first tensor's device, and stays there. Of a DTensor, the part that
        this process holds is set.
        """
        mask = self._masks[name] = self._masks[name].to(tensors[0].device)
        for tensor in tensors:
            zero_bits_(here(tensor), self._parts.of(mask, name, tensor).to(tensor.device))

    def replace_(self, masks: Mapping[str, Tensor], origin: Origin | None) -> None:
        """Take over other masks for the same parameters; whoever holds this object sees them.

        Raises:
            ValueError: if the names differ; then nothing has changed.
        """
        if masks.keys() != self._masks.keys():
            odd = sorted(masks.keys() ^ self._masks.keys())
            raise ValueError(f"masks for other parameters: {', '.join(odd[:8])} in one set only")
        self._masks = {name: _checked(name, masks[name]) for name in self._masks}
        self.origin = origin

    def attached(self, optimizer: torch.optim.Optimizer) -> AbstractContextManager[Any]:
        """Keep the removed weights zero while `optimizer` trains; see `secateur.training.attach`.

        It holds from this call to the end of the `with` block. `secateur.training.attached` does
        the same, and can be ended by hand.

        Raises:
            TypeError: if `optimizer` is no torch.optim.Optimizer.
            ValueError: if it holds none of the parameters.
        """
        # By name: training stands a floor above this one.
        attach = importlib.import_module("secateur.training.attach")
        attachment: AbstractContextManager[Any] = attach.attached(self, optimizer)
        return attachment

    def state_dict(self) -> dict[str, Any]:
        """Return {"masks": bool tensors by parameter name, "origin": plain words or None}."""
        origin = None if self.origin is None else asdict(self.origin)
        return {"masks": dict(self._masks), "origin": origin}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises:
            ValueError: if it is for other parameters; then nothing has changed.
        """
        origin = state["origin"]
        for name, mask in state["masks"].items():
            if name in self._masks and mask.shape != self._masks[name].shape:
                wanted, came = list(self._masks[name].shape), list(mask.shape)
                raise ValueError(f"the mask of {name!r} must be {wanted}, not {came}")
        self.replace_(state["masks"], None if origin is None else Origin(**origin))

    def __getstate__(self) -> dict[str, Any]:
        # A weak reference cannot be pickled; a copy has no model until it is given one.
        return {**self.__dict__, "_model": None, "_wish": None}

    def __str__(self) -> str:
        rows = [
            (
                name,
                "x".join(map(str, mask.shape)),
                *_counts(int(mask.count_nonzero()), mask.numel()),
            )
            for name, mask in self._masks.items()
        ]
        rows.append(("in all", "", *_counts(self.kept, self.total)))
        made = table(("parameter", "shape", "kept", "of", "sparsity"), rows)
        return "\n".join(filter(None, (made, listing(self.report()))))

    def __repr__(self) -> str:
        made = f", {self.origin}" if self.origin else ""
        return f"Masks({len(self)} parameters, sparsity {self.sparsity:.4f}{made})"


def _counts(kept: int, total: int) -> tuple[str, str, str]:
    return str(kept), str(total), f"{1 - kept / total:.2%}" if total else "-"


def _checked(name: str, mask: Tensor) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        came = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"the mask of {name!r} must be a bool tensor, true where kept, not {came}")
    return mask
