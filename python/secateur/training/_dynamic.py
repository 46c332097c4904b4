"""What RigL and SET share: masks of a constant number of weights that move while training.

Every so many steps some weights are dropped and as many grown, layer by layer. What grows is the
one thing the methods differ in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, ClassVar

import torch
from torch import Tensor

from secateur.pruning._shards import whole
from secateur.pruning.masks import Masks
from secateur.pruning.patterns import Pattern, find_pattern
from secateur.pruning.select import keep_per_row
from secateur.pruning.targets import Target, select
from secateur.training.attach import Attachment


@dataclass(frozen=True)
class Pace:
    """When masks change, and by how much (Evci et al. 2020, arXiv:1911.11134, section 3).

    Before the optimizer's step t, for t = every, 2 every, ... while t < end, the fraction
    f(t) = fraction / 2 (1 + cos(pi t / end)) of each layer's kept weights moves.

    Attributes:
        end: optimizer steps after which masks stay; the paper takes 3/4 of the training.
        every: steps between changes (Delta T).
        fraction: how much moves at the start (alpha), in (0, 1].
    """

    end: int
    every: int = 100
    fraction: float = 0.3

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: if one is out of range.
        """
        if self.every < 1 or self.end < 1:
            raise ValueError(f"end and every are steps, at least 1, not {self.end}, {self.every}")
        if not 0 < self.fraction <= 1:
            raise ValueError(
                f"fraction must be in (0, 1], the part of the kept weights that moves at the "
                f"start, not {self.fraction:g}"
            )

    def __call__(self, step: int) -> float:
        """Return the fraction that moves before optimizer step `step`; 0.0 if none is due."""
        if step == 0 or step >= self.end or step % self.every:
            return 0.0
        return self.fraction / 2 * (1 + math.cos(math.pi * step / self.end))


class Dynamic:
    """The common part of `RigL` and `Set`, which say what grows; not used by itself.

    Attributes:
        name: the method's name, for the masks' origin.
        wants_gradients: whether `growth` reads gradients of removed weights.
    """

    name: ClassVar[str]
    wants_gradients: ClassVar[bool]

    def __init__(
        self,
        masks: Masks,
        optimizer: torch.optim.Optimizer,
        pace: Pace,
        generator: torch.Generator | None = None,
    ) -> None:
        self._pattern = _pattern_of(self.name, masks)
        self._targets = select(masks.model, list(masks))
        _check_owned(self._targets, optimizer)
        self._masks, self._pace, self._generator = masks, pace, generator
        self._step = self._updates = 0
        self._attachment = Attachment(masks, optimizer)
        self._handles = [
            optimizer.register_step_pre_hook(lambda _, args, kwargs: self._before(args, kwargs)),
            optimizer.register_step_post_hook(lambda *_: self._after()),
        ]
        self._announce()

    @property
    def masks(self) -> Masks:
        """The masks in force; the same object for as long as this lives."""
        return self._masks

    @property
    def updates(self) -> int:
        """How many times the masks have changed."""
        return self._updates

    def growth(self, target: Target) -> Tensor | None:
        """Return how much each weight asks to grow, float [out, in]; None if it cannot be said."""
        raise NotImplementedError

    def detach(self) -> None:
        """Let go of the optimizer; the weights keep their zeros until something trains them."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._attachment.detach()

    def __enter__(self) -> Dynamic:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.detach()

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on: plain data, for torch.save beside model and optimizer."""
        return {
            "method": self.name,
            "step": self._step,
            "updates": self._updates,
            "generator": None if self._generator is None else self._generator.get_state(),
            **self._masks.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken: the masks to come are the same, bit for bit.

        Load the model and the optimizer as well. The weights that the masks remove are set to
        zero.

        Raises:
            ValueError: if the state is another method's, or for other parameters; then nothing
                has changed.
        """
        if state["method"] != self.name:
            raise ValueError(f"this is {self.name!r}, the state was made by {state['method']!r}")
        self._masks.load_state_dict(state)
        self._step, self._updates = state["step"], state["updates"]
        if self._generator is not None and state["generator"] is not None:
            self._generator.set_state(state["generator"])
        self._attachment.apply_()
        self._announce()

    def _announce(self) -> None:
        """Let the gradients of the coming step through if they decide what grows."""
        due = self._pace(self._step) > 0
        self._attachment.dense_gradients = self.wants_gradients and due

    def _before(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        fraction = self._pace(self._step)
        if not fraction:
            return
        if self.wants_gradients and any(callable(a) for a in (*args, *kwargs.values())):
            raise ValueError(
                f"{self.name} reads the gradients before optimizer.step; with a closure they come "
                "inside it. Call backward() first, and step() without a closure"
            )
        moved = self._moved(fraction)
        # Under the old masks first: what grows has to start with nothing in its optimizer state.
        self._attachment.apply_()
        if moved is not None:
            origin = self._masks.origin
            self._masks.replace_(moved, origin and replace(origin, criterion=self.name))
            self._attachment.apply_()
            self._updates += 1

    def _after(self) -> None:
        self._step += 1
        self._announce()

    def _moved(self, fraction: float) -> dict[str, Tensor] | None:
        """Return the masks to come, or None if a gradient is not finite: no masks by chance."""
        moved = {}
        for key, target in self._targets.items():
            growth = self.growth(target) if target.weight.requires_grad else None
            if growth is None:
                moved[key] = self._masks[key]
                continue
            matrix = target.matrix
            if not bool(matrix.isfinite().all()):
                raise ValueError(f"{key!r} has a weight that is NaN or infinite; masks stay")
            if not bool(growth.isfinite().all()):
                return None
            units, shape = self._pattern.to_units, target.shape
            mask = target.to_matrix(self._masks[key])
            alive = units(mask.to(matrix.device).float(), shape) > 0
            magnitude = units(_scores(matrix.abs()), shape)
            growth = units(_scores(growth), shape)
            keep = drop_and_grow(alive, magnitude, growth, fraction)
            new = self._pattern.to_mask(keep, shape)
            moved[key] = target.from_matrix(new).contiguous()
        return moved


def drop_and_grow(alive: Tensor, magnitude: Tensor, growth: Tensor, fraction: float) -> Tensor:
    """Return which units live after as many are grown as are dropped.

    int(fraction * alive) units of the least magnitude are dropped, and those that were dead and
    have the most growth are grown; no more than there are dead. What is dropped stays dropped
    until the next time. Among equal scores the lowest index lives.

    Args:
        alive: bool, any shape.
        magnitude: floating, shaped like `alive`, finite.
        growth: floating, shaped like `alive`, finite.
        fraction: of the living that move, in [0, 1].

    Returns:
        bool, shaped like `alive`, with as many true.
    """
    n = int(alive.sum())
    moving = min(int(fraction * n), alive.numel() - n)
    stay = _highest(magnitude.masked_fill(~alive, -math.inf), n - moving)
    return stay | _highest(growth.masked_fill(alive, -math.inf), moving)


def _highest(scores: Tensor, count: int) -> Tensor:
    return keep_per_row(scores.reshape(1, -1), count).view(scores.shape)


def _scores(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _pattern_of(method: str, masks: Masks) -> Pattern:
    """Return the pattern of the masks; raise ValueError if weights cannot move inside it."""
    origin = masks.origin
    pattern = find_pattern("unstructured" if origin is None else origin.pattern)
    if pattern.kept_per_row is not None:
        raise ValueError(
            f"{method} moves weights freely inside a layer, but pattern {pattern.name} keeps the "
            'same number in every group; make the masks with pattern="unstructured"'
        )
    if origin is not None and origin.scope == "row":
        raise ValueError(
            f"{method} moves weights between rows, but scope='row' keeps the same number in each; "
            'make the masks with scope="layer"'
        )
    return pattern


def _check_owned(targets: Mapping[str, Target], optimizer: torch.optim.Optimizer) -> None:
    """Raise ValueError unless the optimizer trains all that is trained: its steps are counted."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        return  # The attachment says it better.
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    trained = {key: t.weight for key, t in targets.items() if t.weight.requires_grad}
    missing = [key for key, weight in trained.items() if id(weight) not in held]
    if missing:
        raise ValueError(
            f"the optimizer does not hold {', '.join(missing[:8])}; make masks of the parameters "
            "it holds (targets=...), one object for each optimizer"
        )


def gradient(target: Target) -> Tensor | None:
    """Return the gradient as it came, [out, in]; None if there is none."""
    came = target.weight.grad
    if came is None or came.layout != torch.strided:
        return None
    return target.to_matrix(whole(came))
