"""A model to one file and back. No logic of its own: what is stored is the canonical form of nn."""

from secateur.io.load import load
from secateur.io.save import save

__all__ = ["load", "save"]
