"""What criteria look at beside the weight. One file per way of finding it out; it registers it."""

from secateur.pruning.evidence._base import SOURCES, Request, check_given, gather, reads

__all__ = ["SOURCES", "Request", "check_given", "gather", "reads"]
