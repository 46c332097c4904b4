"""Which weights live or die together. One file per pattern; the file registers it."""

from secateur.pruning.patterns._base import PATTERNS, Pattern, find_pattern

__all__ = ["PATTERNS", "Pattern", "find_pattern"]
