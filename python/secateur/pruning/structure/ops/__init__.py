"""What each operation does to the labels of its operands. One file per family of ops."""

from secateur.pruning.structure.ops._base import RULES, Call, Info, Rule, Unknown

__all__ = ["RULES", "Call", "Info", "Rule", "Unknown"]
