"""How much each weight matters. One file per criterion; the file registers it."""

from secateur.pruning.criteria._base import CRITERIA, Criterion, Evidence
from secateur.pruning.criteria._own import AnyCriterion, find_criterion
from secateur.pruning.criteria.norms import Ln

__all__ = ["CRITERIA", "AnyCriterion", "Criterion", "Evidence", "Ln", "find_criterion"]
