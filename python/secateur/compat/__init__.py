"""Doors for what was written for other libraries. They have no logic of their own."""

from secateur.compat import torch_prune

__all__ = ["torch_prune"]
