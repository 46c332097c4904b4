"""Prune a PyTorch model, and have it run faster on the machine you have.

>>> import torch, secateur as sc
>>> model = torch.nn.Linear(64, 64)
>>> masks = sc.prune(model, sparsity=0.9)
>>> fast = sc.convert(model, torch.randn(8, 64), gate="always")
"""

from secateur.io import load, save
from secateur.nn import (
    SparseConv1d,
    SparseConv2d,
    SparseGroup,
    SparseLinear,
    SparseMultiheadAttention,
    to_dense,
)
from secateur.planning import convert, explain, fuse, permute_, plan
from secateur.pruning import Masks, criteria, prune, schedules, structure, verify
from secateur.pruning.structure import shrink
from secateur.training import GradualPruner

__all__ = [
    "GradualPruner",
    "Masks",
    "SparseConv1d",
    "SparseConv2d",
    "SparseGroup",
    "SparseLinear",
    "SparseMultiheadAttention",
    "convert",
    "criteria",
    "explain",
    "fuse",
    "load",
    "permute_",
    "plan",
    "prune",
    "save",
    "schedules",
    "shrink",
    "structure",
    "to_dense",
    "verify",
]
