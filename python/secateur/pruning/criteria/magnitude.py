"""Small weights matter least: score = |w| (Han et al. 2015, arXiv:1506.02626, section 3)."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria._base import CRITERIA, Evidence


@CRITERIA.register("magnitude")
class Magnitude:
    """The absolute value. A weight that is zero already goes first."""

    name = "magnitude"
    needs: frozenset[str] = frozenset()
    by_weight = True

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return |weight|, [out, in]."""
        return weight.abs()
