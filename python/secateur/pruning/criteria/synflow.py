"""SynFlow: pruning without data that leaves no layer empty (Tanaka et al. 2020).

arXiv:2006.05467, equation 6 and algorithm 1.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from secateur.pruning.criteria._base import CRITERIA, Evidence


@CRITERIA.register("synflow")
class SynFlow:
    """|w| times the gradient of R by |w|, R the sum of the outputs for an input of ones.

    R is that of the network with all weights, biases and statistics in absolute value and in
    float64. The weights of all layers compete, in `rounds` rounds: after round k the fraction
    (1 - sparsity)^(k / rounds) is left, and R is taken anew. In gradual pruning the steps of the
    schedule are the rounds. The first calibration batch says what an input looks like; its values
    do not matter.

    Args:
        rounds: the paper takes 100.

    Raises:
        ValueError: if `rounds` is no whole number above 0.
    """

    name = "synflow"
    needs: frozenset[str] = frozenset({"flow"})
    scope: ClassVar[str] = "global"
    pooling: ClassVar[str] = "sum"
    wide: ClassVar[bool] = True

    def __init__(self, rounds: int = 100) -> None:
        if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
            raise ValueError(f"SynFlow: rounds must be a whole number, 1 or more, not {rounds!r}")
        self.rounds = rounds

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return |w| dR/d|w|, [out, in], float64."""
        return weight.double().abs() * evidence.get("flow", self.name)
