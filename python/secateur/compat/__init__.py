"""Doors for what was written for other libraries. They have no logic of their own."""

from secateur.compat import torch_prune
from secateur.pruning.adopt import adopt

__all__ = ["adopt", "torch_prune"]
