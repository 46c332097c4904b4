"""LAMP: layer-adaptive magnitude pruning (Lee et al. 2021, arXiv:2010.07611, equation 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from secateur.pruning.allocation._base import ALLOCATIONS, Layer, as_shares
from secateur.pruning.select import Scores, highest_first, keep_across

_INFINITE = 1e60
"""Stands for an infinite score: its square, summed, is finite, and larger than any float32's."""


@ALLOCATIONS.register("lamp")
class Lamp:
    """A weight's share in the squares of all weights of its layer that are as large or larger.

    The shares of all layers compete; those that win are as many as the layer keeps, and its scope
    says which. Inside a layer the order is that of magnitude, so with criterion "magnitude" and
    scope "layer" the masks are the paper's. Other criteria put their scores in the magnitude's
    place. The largest weight of a layer has the share 1, so each layer keeps at least one weight
    if as many are kept as there are layers.
    """

    name = "lamp"
    needs: frozenset[str] = frozenset()
    even = False

    def shares(self, layers: Sequence[Layer], sparsity: float) -> list[float]:
        """Return the sparsity of each layer; one layer's scores are held at a time."""
        keep = keep_across([_of(layer) for layer in layers], sparsity)
        return as_shares(layers, [int(kept.sum()) for kept in keep])


def _of(layer: Layer) -> Scores:
    def scores() -> Tensor:
        units = layer.scores()
        if bool(((units < 0) & (units > -math.inf)).any()):
            raise ValueError(
                f"allocation 'lamp' compares squares, but {layer.key!r} has scores below 0; use a "
                'criterion such as "magnitude"'
            )
        return lamp_scores(units)

    return scores


def lamp_scores(units: Tensor) -> Tensor:
    """Return u^2 / (sum of v^2 over v from u up), float64 [1, n], from the highest to the lowest.

    Of equal scores the first is counted as the largest. What is -inf gets -1: it comes last.
    """
    ordered = highest_first(units.reshape(1, -1)).double()
    squares = ordered.clamp(0, _INFINITE).square_()
    shares = squares / squares.cumsum(1)
    # 0 / 0: only zeros are left, or only zeros were there.
    shares.nan_to_num_(nan=0.0)
    shares[:, :1] = 1.0
    return shares.masked_fill_(ordered == -math.inf, -1.0)
