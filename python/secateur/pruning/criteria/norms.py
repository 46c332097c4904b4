"""The norm of a unit of weights, as in Li et al. 2017 (arXiv:1608.08710, section 3.1: L1, L2)."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from secateur.pruning.criteria._base import CRITERIA, Evidence


class Ln:
    """A unit matters by its Ln norm, (sum of |w|^n)^(1/n); for n = inf, by its largest |w|.

    The norm is divided by that of a unit of ones as large (the power mean), so that units of
    different sizes can compete. Inside a layer the order is that of the norm, and where every
    weight is a unit of its own that of the magnitude, whatever n.

    >>> import torch
    >>> from secateur.pruning import prune
    >>> prune(torch.nn.Linear(8, 4), 0.5, criterion=Ln(3)).origin.criterion
    'l3'

    Args:
        n: above 0, or math.inf.

    Raises:
        ValueError: if `n` is not above 0.
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, n: float) -> None:
        if isinstance(n, bool) or not isinstance(n, int | float) or not n > 0:
            raise ValueError(f"Ln: n must be a number above 0, or math.inf, not {n!r}")
        self.pooling = float(n)
        self.name = f"l{n:g}"

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return |weight|, [out, in]; `pooling` makes the norm of it."""
        return weight.abs()


class _Named(Ln):
    n: ClassVar[float]

    def __init__(self) -> None:
        super().__init__(self.n)


@CRITERIA.register("l1")
class L1(_Named):
    """The sum of |w|: of single weights, the magnitude."""

    n = 1.0


@CRITERIA.register("l2")
class L2(_Named):
    """The Euclidean norm."""

    n = 2.0


@CRITERIA.register("linf")
class Linf(_Named):
    """The largest |w|."""

    n = math.inf
