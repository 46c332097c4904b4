"""Removing channels for good: which go together, which cannot go, and the smaller model."""

from secateur.pruning.structure.apply import apply
from secateur.pruning.structure.report import GroupReport, Part, Report, Stay, report
from secateur.pruning.structure.shrink import shrink

__all__ = ["GroupReport", "Part", "Report", "Stay", "apply", "report", "shrink"]
