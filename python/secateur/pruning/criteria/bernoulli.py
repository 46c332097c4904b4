"""A coin for every unit: each is removed with probability `sparsity`, whatever others do."""

from __future__ import annotations

from typing import ClassVar

import torch

from secateur.pruning.criteria._base import CRITERIA
from secateur.pruning.criteria.random import Random


@CRITERIA.register("bernoulli")
class Bernoulli(Random):
    """Independent coins; how many weights remain is itself random, and "random" the exact count.

    The number of heads is drawn first, and then which ones: that is the same distribution, and
    leaves a count that can be verified. No layer and no row has a count of its own, so the scope
    is "global".
    """

    name = "bernoulli"
    scope: ClassVar[str] = "global"

    def draw(self, units: int, sparsity: float, seed: int) -> int:
        """Return how many of `units` are removed, from the binomial distribution."""
        generator = torch.Generator().manual_seed(seed)
        n, p = torch.tensor([units, sparsity], dtype=torch.float64)
        return int(torch.binomial(n, p, generator=generator))
