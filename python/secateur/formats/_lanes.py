"""Weights as lanes of a warp hold them: tiles of 16 rows, 32 lanes, a bit for each position."""

from __future__ import annotations

import torch
from torch import Tensor

LANES = 32
TILE_ROWS = 16
PART = 256  # rows worked on together; whole tiles


def words_of(bits: Tensor) -> Tensor:
    """Return 32-bit words of bool [..., 32], bit 0 first: [...], int64."""
    shifts = torch.arange(32, device=bits.device)
    return (bits.long() << shifts).sum(-1)


def bits_of(words: Tensor) -> Tensor:
    """Return the bits of 32-bit words, int64 [...]: bool [..., 32]."""
    shifts = torch.arange(32, device=words.device)
    return (words.unsqueeze(-1) >> shifts & 1).bool()
