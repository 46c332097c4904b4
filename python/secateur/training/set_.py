"""SET: drop the smallest weights, grow anywhere (Mocanu et al. 2018, arXiv:1707.04780)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from secateur.pruning.masks import Masks
from secateur.pruning.targets import Target
from secateur.training._dynamic import Dynamic, Pace


class Set(Dynamic):
    """Sparse from the first step to the last, with masks that wander.

    >>> import torch
    >>> from secateur.pruning import prune
    >>> model = torch.nn.Linear(8, 4)
    >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
    >>> masks = prune(model, 0.75, criterion="random")
    >>> draws = torch.Generator().manual_seed(0)
    >>> with Set(masks, optimizer, end=75, every=10, generator=draws) as wandering:
    ...     for _ in range(100):
    ...         optimizer.zero_grad()
    ...         model(torch.randn(16, 8)).square().mean().backward()
    ...         optimizer.step()
    >>> wandering.updates, wandering.masks.kept
    (7, 8)

    As `RigL`, but what grows is drawn, uniformly among the removed weights, and gradients stay
    masked. The paper moves a constant fraction at the end of each epoch and grows with random
    values; here, as in the comparison of the RigL paper, the fraction falls along a cosine and
    weights grow from 0.

    Args:
        masks: as in `RigL`.
        optimizer: what trains the masked parameters, all of them.
        end: optimizer steps after which masks stay.
        every: steps between changes.
        fraction: of the kept weights that move at the start, in (0, 1].
        generator: where the draws come from, on any device; give all processes of a distributed
            run the same. None: one of its own, seeded from torch's default generator. Its state is
            part of `state_dict`.

    Raises:
        TypeError: as `RigL`.
        ValueError: as `RigL`.
    """

    name: ClassVar[str] = "set"
    wants_gradients: ClassVar[bool] = False

    def __init__(
        self,
        masks: Masks,
        optimizer: torch.optim.Optimizer,
        end: int,
        *,
        every: int = 100,
        fraction: float = 0.3,
        generator: torch.Generator | None = None,
    ) -> None:
        self._draws = generator or torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        super().__init__(masks, optimizer, Pace(end, every, fraction), self._draws)

    def growth(self, target: Target) -> Tensor:
        """Return uniform draws."""
        weight, draws = target.weight, self._draws
        shape = target.to_matrix(torch.empty(weight.shape, device="meta")).shape
        drawn = torch.rand(shape, generator=draws, device=draws.device)
        return drawn.to(weight.device)
