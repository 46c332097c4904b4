"""How much each weight matters. One file per criterion; the file registers it."""

from secateur.pruning.criteria._base import CRITERIA, Criterion, Evidence
from secateur.pruning.criteria._own import AnyCriterion, find_criterion
from secateur.pruning.criteria.batchnorm import BatchNormScale
from secateur.pruning.criteria.norms import Ln
from secateur.pruning.criteria.ria import Ria
from secateur.pruning.criteria.synflow import SynFlow

__all__ = [
    "CRITERIA",
    "AnyCriterion",
    "BatchNormScale",
    "Criterion",
    "Evidence",
    "Ln",
    "Ria",
    "SynFlow",
    "find_criterion",
]
