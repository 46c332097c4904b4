"""Masks through the user's own training loop. It knows nothing of kernels."""

from secateur.training.attach import Attachment, attached
from secateur.training.distill import soft_targets, square_head
from secateur.training.gradual import GradualPruner
from secateur.training.ranks import broadcast_
from secateur.training.rewind import Snapshot
from secateur.training.rigl import RigL
from secateur.training.set_ import Set

__all__ = [
    "Attachment",
    "GradualPruner",
    "RigL",
    "Set",
    "Snapshot",
    "attached",
    "broadcast_",
    "soft_targets",
    "square_head",
]
