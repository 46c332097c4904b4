"""Pruning a little at a time while the model trains: a schedule, new masks, the same loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from secateur.pruning._shards import settle
from secateur.pruning.allocation import Allocation, Named
from secateur.pruning.calibration import Loss
from secateur.pruning.criteria import AnyCriterion
from secateur.pruning.evidence import Request, check_given, gather, reads
from secateur.pruning.evidence.gradients import require_trained
from secateur.pruning.masks import Masks
from secateur.pruning.patterns import Pattern
from secateur.pruning.recipe import Recipe
from secateur.pruning.rounds import require_reusable
from secateur.pruning.scopes import Scope
from secateur.pruning.selectors import Selectors
from secateur.pruning.statuses import Wish
from secateur.pruning.targets import select
from secateur.training._history import History
from secateur.training.attach import Attachment


class GradualPruner:
    """Prunes along a schedule; three lines in the user's own loop.

    >>> import torch
    >>> from secateur.pruning.schedules import cubic
    >>> model = torch.nn.Linear(8, 4)
    >>> optimizer = torch.optim.AdamW(model.parameters())
    >>> pruner = GradualPruner(model, optimizer, cubic(0.0, 0.75, steps=range(0, 20, 5)))
    >>> for _ in range(20):
    ...     model(torch.randn(16, 8)).square().mean().backward()
    ...     optimizer.step()
    ...     changed = pruner.step()
    >>> pruner.masks.kept
    8

    Masks only ever lose weights: what is removed stays removed, and stays zero. When the schedule
    asks for more than there is, new masks are made of the weights as they are then.

    A pattern with a sparsity of its own is approached in its own steps, whichever is nearest to
    the schedule: on the way to "2:4" a weight is 4:4 up to 12.5 %, then 3:4, and 2:4 from 37.5 %,
    so that the final pattern has time to heal. The schedule must end at the pattern's sparsity.

    Args:
        model: any module.
        optimizer: what trains it; build it first.
        schedule: the sparsity wanted once training step i, counted from 0, is done; made by
            `secateur.schedules`, or any function of i. Where it falls, masks stay as they are.
        criterion: as in `prune`; one that looks at gradients takes, without `loss`, the `.grad`
            that the step left: call `step` before the optimizer's `zero_grad`.
        pattern: as in `prune`.
        scope: as in `prune`.
        allocation: as in `prune`, by name.
        targets: as in `prune`.
        ignore: as in `prune`.
        calibration: as in `prune`; read anew each time masks are made, so no iterator.
        loss: as in `prune`.
        generator: for a criterion that draws. None: one of its own, seeded from torch's default
            generator. Its state is part of `state_dict`.

    Raises:
        TypeError: as `prune` and `Attachment`.
        ValueError: as `prune` and `Attachment`, or if the schedule does not end where the pattern
            does.
    """

    def __init__(  # noqa: PLR0913  (keywords of the front door, as in prune)
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Callable[[int], float],
        *,
        criterion: AnyCriterion = "magnitude",
        pattern: str | Pattern = "unstructured",
        scope: str | Scope | None = None,
        allocation: str | Allocation = "uniform",
        targets: Selectors | None = None,
        ignore: Selectors = (),
        calibration: Iterable[Any] | Mapping[str, Any] | Tensor | None = None,
        loss: Loss | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self._recipe = Recipe.of(criterion, pattern, scope, allocation)
        _check_schedule(schedule, self._recipe)
        require_reusable(calibration, "each time masks are made")
        self._model, self._schedule = model, schedule
        self._targets = select(model, targets, ignore)
        self._recipe.check(self._targets)
        self._request = Request(
            self._recipe.criterion,
            model,
            self._targets,
            calibration,
            loss,
            allocation=self._recipe.allocation,
        )
        check_given(self._request)
        remembers = "history" in self._recipe.criterion.needs
        if remembers or "loss" in reads(self._recipe.criterion):
            require_trained(self._targets, self._recipe.criterion.name)
        self._generator = generator or _own_generator(self._recipe)
        self._step = 0
        self._sparsity = 0.0
        everything = {
            key: torch.ones(target.weight.shape, dtype=torch.bool, device=target.weight.device)
            for key, target in self._targets.items()
        }
        self._masks = Masks(everything, model, self._recipe.origin(0.0), Wish(targets, ignore))
        self._attachment = Attachment(self._masks, optimizer)
        self._history = History(self._recipe.criterion, self._targets) if remembers else None
        if self._history is not None:
            self._history.follow(optimizer)

    @property
    def masks(self) -> Masks:
        """The masks in force; the same object for as long as the pruner lives."""
        return self._masks

    @property
    def sparsity(self) -> float:
        """The sparsity that the schedule last asked for; `masks.sparsity` is what is there."""
        return self._sparsity

    def step(self) -> bool:
        """Count one training step, after the optimizer's, and prune if the schedule says so.

        Returns:
            whether there are new masks.

        Raises:
            ValueError: if a weight has become NaN, or the schedule leaves [0, 1) or the pattern's
                sparsity; masks and weights are then as they were.
        """
        wanted = self._recipe.on_the_way(self._schedule(self._step))
        changed = wanted > self._sparsity
        if changed:
            self._prune_to(wanted)
        self._step += 1
        return changed

    def detach(self) -> None:
        """Let go of the optimizer; the weights keep their zeros until something trains them."""
        self._attachment.detach()
        if self._history is not None:
            self._history.detach()

    def __enter__(self) -> GradualPruner:
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
        generator = None if self._generator is None else self._generator.get_state()
        return {
            "step": self._step,
            "sparsity": self._sparsity,
            "generator": generator,
            "history": None if self._history is None else dict(self._history.values),
            **self._masks.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken: the masks to come are the same, bit for bit.

        The weights that the masks remove are set to zero.

        Raises:
            ValueError: if the state was made with another criterion, pattern or scope, or for
                other parameters; then nothing has changed.
        """
        ours = self._recipe.origin(state["sparsity"])
        theirs = state["origin"]
        for word in ("criterion", "pattern", "scope", "allocation"):
            if getattr(ours, word) != theirs.get(word, "uniform"):
                raise ValueError(
                    f"this pruner has {word}={getattr(ours, word)!r}, the state was made with "
                    f"{theirs.get(word, 'uniform')!r}; give the pruner the same"
                )
        self._masks.load_state_dict(state)
        self._step = state["step"]
        self._sparsity = state["sparsity"]
        if self._generator is not None and state["generator"] is not None:
            self._generator.set_state(state["generator"])
        if self._history is not None:
            self._history.load(state.get("history") or {})
        self._attachment.apply_()

    def _prune_to(self, wanted: float) -> None:
        settle(self._model)
        history = None if self._history is None else self._history.values
        evidence = gather(replace(self._request, masks=self._masks, history=history))
        masks = self._recipe.masks(self._targets, wanted, self._generator, self._masks, evidence)
        self._masks.replace_(masks, self._recipe.origin(wanted, self._targets, masks))
        self._attachment.apply_()
        self._sparsity = wanted


def _check_schedule(schedule: object, recipe: Recipe) -> None:
    """Raise unless `schedule` can be what says how much is removed."""
    if not callable(schedule):
        raise TypeError(
            f"schedule must be a function of the step, such as secateur.schedules.cubic(0.0, "
            f"0.9, steps=range(0, 2000, 100)), not {schedule!r}"
        )
    if isinstance(recipe.allocation, Named):
        raise ValueError(
            "a schedule says how sparse the model is at each step, and an allocation by name "
            "how sparse each layer is in the end; use a pruner for each kind of layer (targets="
            '...), or allocation="erk"'
        )
    if hasattr(recipe.criterion, "draw"):
        raise ValueError(
            f"criterion {recipe.criterion.name!r} draws how many weights are removed, "
            'where the schedule says it; use criterion="random"'
        )
    final = getattr(schedule, "final", None)
    if final is not None:
        recipe.sparsity(final)


def _own_generator(recipe: Recipe) -> torch.Generator | None:
    if "seed" not in recipe.criterion.needs:
        return None
    return torch.Generator().manual_seed(int(torch.randint(2**62, ())))
