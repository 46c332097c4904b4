"""Layers on integer data for the tests of this room: every sum of theirs is exact."""

from __future__ import annotations

from torch import Tensor, nn

import secateur as sc
from secateur.formats import Verdict, with_verdicts
from secateur.planning import machine
from tests.support.data import generator, integers, random_mask


def linear(out: int = 40, in_: int = 64, mask: Tensor | None = None, seed: int = 0) -> nn.Linear:
    gen = generator(seed)
    layer = nn.Linear(in_, out)
    mask = random_mask(out, in_, 0.3, gen) if mask is None else mask
    layer.weight = nn.Parameter(integers((out, in_), gen) * mask)
    layer.bias = nn.Parameter(integers((out,), gen))
    return layer


def x_for(layer: nn.Linear, *lead: int) -> Tensor:
    return integers((*lead, layer.in_features), generator(1))


def with_dense(verdict: Verdict) -> sc.SparseLinear:
    sparse = sc.SparseLinear.from_dense(linear()).eval()
    sparse.index = with_verdicts(sparse.index, {3: verdict}, machine.stamp())
    sparse.keep_dense()
    return sparse
