"""Who competes with whom. One file per scope; the file registers it."""

from secateur.pruning.scopes._base import SCOPES, Scope

__all__ = ["SCOPES", "Scope"]
