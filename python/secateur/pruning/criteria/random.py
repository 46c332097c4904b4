"""Every weight matters as much as a number drawn for it: the baseline other criteria must beat."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from secateur.pruning.criteria._base import CRITERIA, Evidence


@CRITERIA.register("random")
class Random:
    """Uniform draws. The number removed is exact: it is ranks that decide, not a coin per weight.

    The draws are made on the CPU, so one seed gives one mask wherever the weight lives.
    """

    name = "random"
    needs: frozenset[str] = frozenset({"seed"})
    pooling: ClassVar[str] = "first"

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return uniform float32 draws, [out, in], fixed by the seed and the shape alone."""
        if evidence.seed is None:
            raise ValueError(f"criterion {self.name!r} needs evidence.seed, an int; it is None")
        generator = torch.Generator().manual_seed(evidence.seed)
        return torch.rand(weight.shape, generator=generator).to(weight.device)
