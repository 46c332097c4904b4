"""From weights to masks. It knows nothing of kernels, and nothing of training loops."""

from secateur.pruning import criteria, schedules
from secateur.pruning.masks import Masks
from secateur.pruning.prune import prune
from secateur.pruning.targets import Target
from secateur.pruning.verify import Report, verify

__all__ = ["Masks", "Report", "Target", "criteria", "prune", "schedules", "verify"]
