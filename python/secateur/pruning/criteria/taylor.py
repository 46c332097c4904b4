"""First-order Taylor: how much the loss changes, to first order, when weights become zero.

Molchanov et al. 2019 (arXiv:1906.10771, eq. 7 and 8). The three criteria here rank single weights
alike but for the last, and differ in how the weights of a unit are put together.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from secateur.pruning.criteria._base import CRITERIA, Evidence
from secateur.pruning.criteria._inputs import at_least_float32


@CRITERIA.register("taylor")
class Taylor:
    """|sum of w g| over a unit, g the gradient over all batches: the change of the loss itself.

    Weights of one unit may cancel. It has the order of the paper's (sum of w g)^2, which the paper
    averages over batches; here the batches' gradients are added first.
    """

    name = "taylor"
    needs: frozenset[str] = frozenset({"gradient"})
    pooling: ClassVar[str] = "net"

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return w g, signed, [out, in]; `pooling` takes the absolute value."""
        gradient = evidence.get("gradient", self.name)
        return weight.to(at_least_float32(weight)) * gradient


@CRITERIA.register("taylor_abs")
class TaylorAbs(Taylor):
    """Sum of |w g| over a unit: nothing cancels."""

    name = "taylor_abs"
    pooling = "sum"

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return |w g|, [out, in]."""
        return super().score(weight, evidence).abs()


@CRITERIA.register("taylor_squared")
class TaylorSquared:
    """Sum of (w g)^2 over a unit and over batches: the paper's equation 8, weight by weight.

    Gradients of different batches do not cancel, as those of a trained model do when added. It is
    also w^2 times the diagonal of the empirical Fisher matrix.
    """

    name = "taylor_squared"
    needs: frozenset[str] = frozenset({"gradient_squares"})
    pooling: ClassVar[str] = "sum"

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return w^2 times the sum of g^2, [out, in]."""
        squares = evidence.get("gradient_squares", self.name)
        return weight.to(at_least_float32(weight)).square() * squares
