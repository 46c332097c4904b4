"""How much each weight matters. One file per criterion; the file registers it."""

from secateur.pruning.criteria._base import CRITERIA, Criterion, Evidence

__all__ = ["CRITERIA", "Criterion", "Evidence"]
