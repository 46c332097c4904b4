"""Movement: weights that training moves towards zero matter least (Sanh et al. 2020).

arXiv:2005.07683, equations 5 and 6, with the learning rate of the scores left out: it changes no
order.
"""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria._base import CRITERIA, Evidence


@CRITERIA.register("movement")
class Movement:
    """Minus the sum of w g over the steps of a training run, w as it was before each step.

    We differ in this: the paper's masks are made anew at every step, of weights that are kept
    aside, and may take a weight back; `GradualPruner` never does. So scores of removed weights,
    which would need their values, are not followed, and those of kept weights are the paper's.
    """

    name = "movement"
    needs: frozenset[str] = frozenset({"history"})

    def remember(self, history: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
        """Return history - w g, [out, in]."""
        return history - weight.to(history.dtype) * gradient.to(history.dtype)

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return the sum so far, [out, in]: above zero where training moves w away from zero."""
        return evidence.get("history", self.name)
