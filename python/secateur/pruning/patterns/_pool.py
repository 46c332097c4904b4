"""One score for many weights: what every pattern does with the scores of a unit."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Pooling = Literal["mean", "max"]


def pool(scores: Tensor, dims: tuple[int, ...], how: Pooling = "mean") -> Tensor:
    """Return `scores` with the dimensions `dims` pooled away.

    The mean, and not the sum, lets units of different sizes compete fairly; of scores |w|^n it
    ranks units of one size as their n-norms do, and the maximum as the infinity norm does.

    Args:
        scores: floating, any shape.
        dims: which dimensions make up a unit.
        how: "mean" or "max".

    Raises:
        ValueError: if `how` is neither.
    """
    if how == "mean":
        return scores.mean(dims)
    if how == "max":
        return scores.amax(dims)
    raise ValueError(f'pooling must be "mean" or "max", not {how!r}')
