"""The dense product by cuBLAS, with the dense copy of a layer: what every other must beat."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from secateur.backends import roofline
from secateur.backends.candidates import DENSE, FLOATS, Candidate, Operands, add


def run(call: Operands) -> Tensor:
    """Return x Wᵀ + bias with the dense copy."""
    assert call.dense is not None
    bias = None if call.bias is None else call.bias.to(call.x.dtype)
    return F.linear(call.x, call.dense.to(call.x.dtype), bias)


add(
    Candidate(
        "cublas", DENSE, FLOATS, predict=roofline.dense, run=run, capability=(0, 10**9), fused=False
    )
)
