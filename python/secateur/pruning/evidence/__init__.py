"""What criteria look at beside the weight. One file per way of finding it out; it registers it."""

from secateur.pruning.evidence._base import SOURCES, Request, gather

__all__ = ["SOURCES", "Request", "gather"]
