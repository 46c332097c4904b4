"""Which weights live or die together. One file per pattern; the file registers it."""

from secateur.pruning.patterns._base import PATTERNS, Pattern, find_pattern
from secateur.pruning.patterns._pool import Pooling, pool

__all__ = ["PATTERNS", "Pattern", "Pooling", "find_pattern", "pool"]
