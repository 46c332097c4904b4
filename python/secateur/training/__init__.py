"""Masks through the user's own training loop. It knows nothing of kernels."""

from secateur.training.attach import Attachment, attached
from secateur.training.distill import soft_targets, square_head
from secateur.training.gradual import GradualPruner

__all__ = [
    "Attachment",
    "GradualPruner",
    "attached",
    "soft_targets",
    "square_head",
]
