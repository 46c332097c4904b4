"""Wanda: small weights on small inputs matter least (Sun et al. 2024, arXiv:2306.11695, eq. 1)."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria._base import CRITERIA, Evidence
from secateur.pruning.criteria._inputs import beside


@CRITERIA.register("wanda")
class Wanda:
    """|w| times the Euclidean norm of its input over the calibration batches.

    As in the paper, weights of one output row compete unless `scope` says otherwise. We differ in
    this: all layers are scored on the model as it is, where the paper prunes block by block and
    shows later blocks the outputs of pruned ones.
    """

    name = "wanda"
    needs: frozenset[str] = frozenset({"input_norms"})
    scope = "row"

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return |w_ij| ||x_j||, [out, in]."""
        return weight.abs() * beside(evidence.get("input_norms", self.name), weight)
