"""Small models with every kind of weight, shared by the tests of pruning and training."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class Conv1D(nn.Module):
    """What Hugging Face's GPT-2 uses for a linear layer: weight [in, out]."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Zoo(nn.Module):
    """Linear, Conv2d, grouped Conv2d, Conv1d, Conv1D, attention, LayerNorm, a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.conv = nn.Conv2d(4, 6, 3)
        self.grouped = nn.Conv2d(8, 4, 2, groups=2)
        self.line = nn.Conv1d(4, 6, 3)
        self.hugging = Conv1D(16, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.norm = nn.LayerNorm(8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.head = nn.Linear(8, 12, bias=False)
        self.head.weight = self.embedding.weight


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for k, n in pairwise(widths):
        layers += [nn.Linear(k, n), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
