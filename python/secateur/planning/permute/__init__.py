"""Permuting channels so that N:M keeps more, folded into the layers around."""

from secateur.planning.permute._permute import permute_
from secateur.planning.permute._report import Line, Permutation

__all__ = ["Line", "Permutation", "permute_"]
