"""SNIP: connection sensitivity before training (Lee et al. 2019, arXiv:1810.02340, eq. 6)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from secateur.pruning.criteria._base import CRITERIA, Evidence
from secateur.pruning.criteria._inputs import at_least_float32


@CRITERIA.register("snip")
class Snip:
    """|w g|: the derivative of the loss by a gate on the weight, at 1, in absolute value.

    As in the paper, gradients of several batches are added before the absolute value is taken, and
    the weights of all layers compete. The paper divides by the sum over all weights, which
    changes no order. It is meant for a network as it was initialised.
    """

    name = "snip"
    needs: frozenset[str] = frozenset({"gradient"})
    scope: ClassVar[str] = "global"
    pooling: ClassVar[str] = "sum"

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return |w g|, [out, in]."""
        gradient = evidence.get("gradient", self.name)
        return (weight.to(at_least_float32(weight)) * gradient).abs()
