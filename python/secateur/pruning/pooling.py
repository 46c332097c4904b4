"""The score of a unit of several weights, from the scores of its weights.

A pattern says which weights stand in which unit, and takes their mean or the largest of them; every
other way to pool is built on these two, and on where `to_mask` puts what a unit is given.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from secateur.pruning.patterns import Pattern
from secateur.pruning.shape import Shape

How = float | Literal["mean", "sum", "net", "max", "first"]
"""See `secateur.pruning.criteria.Criterion`."""


def pooled(pattern: Pattern, scores: Tensor, shape: Shape, how: How = "mean") -> Tensor:
    """Return the scores of the units, [rows, units per row], from `scores`, floating [out, in].

    Args:
        pattern: which weights stand in which unit.
        scores: of the weights. Not negative if `how` is a number.
        shape: of the weight.
        how: "mean" | "sum" | "net", the absolute value of the sum | "max" | "first", the score of
            a unit's first weight | a number p, the power mean (mean of s^p)^(1/p).

    Raises:
        ValueError: if there is no such way to pool.
    """
    if how == "sum" or how == "net":
        mean = pattern.to_units(scores, shape, "mean")
        # The units of a pattern are of one size.
        total = mean * (scores.numel() // max(1, mean.numel()))
        return total if how == "sum" else total.abs()
    if how == "first":
        places = torch.arange(scores.numel(), dtype=torch.float64, device=scores.device)
        first = -pattern.to_units(-places.reshape(scores.shape), shape, "max")
        return scores.flatten()[first.long()]
    if how == "mean" or how == "max":
        return pattern.to_units(scores, shape, how)
    if isinstance(how, str) or not how > 0:
        raise ValueError(
            'pooling must be "mean", "sum", "net", "max", "first" or a number above 0, the '
            f"exponent of a power mean, not {how!r}"
        )
    return _power_mean(pattern, scores, shape, float(how))


def unit_of(pattern: Pattern, shape: Shape, device: torch.device) -> Tensor:
    """Return which unit each weight stands in, int64 [out, in], counted along the rows of units."""
    units = pattern.to_units(torch.zeros(shape.rows, shape.columns, device=device), shape)
    numbers = torch.arange(units.numel(), device=device).reshape(units.shape)
    return pattern.to_mask(numbers, shape)


def _power_mean(pattern: Pattern, scores: Tensor, shape: Shape, exponent: float) -> Tensor:
    """Return (mean of s^p)^(1/p). The largest score is factored out: no power over- or underflows.

    A unit of one weight so gets that weight's score, to the bit.
    """
    largest = pattern.to_units(scores, shape, "max")
    if math.isinf(exponent):
        return largest
    # Where the largest is 0 or infinite, so is the mean, and a ratio would be NaN.
    proper = (largest > 0) & (largest < math.inf)
    divisor = pattern.to_mask(largest.where(proper, math.inf), shape)
    powers = pattern.to_units((scores / divisor).double().pow(exponent), shape, "mean")
    return largest * powers.pow(1 / exponent).to(scores.dtype).where(proper, 1.0)
