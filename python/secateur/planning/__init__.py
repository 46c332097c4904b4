"""Looking at a model and at costs: what could be sparse, what is worth it, what became of it."""

from secateur.planning.convert import convert
from secateur.planning.explain import Explanation, explain
from secateur.planning.fuse import fuse
from secateur.planning.permute import Permutation, permute_
from secateur.planning.plan import Plan, plan

__all__ = [
    "Explanation",
    "Permutation",
    "Plan",
    "convert",
    "explain",
    "fuse",
    "permute_",
    "plan",
]
