"""Work shared across the layers of a captured graph: one file for each rewrite of it."""

from secateur.planning.fuse._base import REWRITES, Match, Miss, Rewrite
from secateur.planning.fuse._fuse import fuse
from secateur.planning.fuse._report import Entry, Report

__all__ = ["REWRITES", "Entry", "Match", "Miss", "Report", "Rewrite", "fuse"]
