"""Who says whether an answer is right. Judges raise; they return nothing, and nothing is tuned.

A sum of k products, in any order and with or without fused multiply-add, is off by at most about
k · u · Σ|x||w| (Higham, Accuracy and Stability of Numerical Algorithms, eq. 3.5; u is half of eps).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tests.support.truth import Truth


class Bounds(NamedTuple):
    """How far an activation carries an error, and how large its own is."""

    lipschitz: float  # largest slope
    ulps: float  # its own error, in eps of |input|


# gelu's slope Φ(x) + x φ(x) is largest at x = √2; all were maximised numerically, and rounded up.
ACTIVATIONS = {
    "none": Bounds(1.0, 0.0),
    "relu": Bounds(1.0, 0.0),
    "gelu": Bounds(1.1290, 4.0),
    "gelu_tanh": Bounds(1.1291, 4.0),
    "silu": Bounds(1.0999, 4.0),
    "relu6": Bounds(1.0, 0.0),
}


def exact(actual: Tensor, expected: Tensor) -> None:
    """Raise unless both are equal in shape, dtype and every element."""
    _same_kind(actual, expected.shape)
    assert actual.dtype == expected.dtype, f"dtype {actual.dtype}, wanted {expected.dtype}"
    if not torch.equal(actual, expected):
        _complain(actual, expected, actual != expected, "differ")


def exact_truth(actual: Tensor, truth: Truth) -> None:
    """Raise unless every element is the truth, rounded to actual's dtype."""
    exact(actual, truth.y.to(actual.dtype))


def within_bound(actual: Tensor, truth: Truth, accumulator: torch.dtype = torch.float32) -> None:
    """Raise unless every element is within the forward error bound of the truth.

    (k + 2) eps Σ|x||w| + eps |bias|, through the activation, + eps |residual| + u |y|, where u is
    the unit roundoff of the result's type.

    Args:
        actual: what an op returned.
        truth: the answer and what its bound is made of.
        accumulator: type the op sums in.
    """
    _same_kind(actual, truth.y.shape)
    eps = torch.finfo(accumulator).eps
    unit = torch.finfo(actual.dtype).eps / 2
    lipschitz, ulps = ACTIVATIONS[truth.act]
    bound = (truth.terms + 2) * eps * truth.absolute + eps * truth.bias
    bound = lipschitz * bound + ulps * eps * truth.pre.abs()
    bound = bound + eps * truth.residual + unit * truth.y.abs()
    # What the type cannot hold finely enough for its unit roundoff: half a step of its subnormals.
    bound = bound + torch.finfo(actual.dtype).smallest_normal * unit
    wrong = ~((actual.double() - truth.y).abs() <= bound)
    if wrong.any():
        _complain(actual, truth.y, wrong, f"leave the bound (largest {bound.max():.3g})")


def _same_kind(actual: Tensor, shape: torch.Size) -> None:
    assert actual.shape == shape, f"shape {list(actual.shape)}, wanted {list(shape)}"


def _complain(actual: Tensor, expected: Tensor, wrong: Tensor, how: str) -> None:
    places = wrong.nonzero()
    first = tuple(places[0].tolist())
    raise AssertionError(
        f"{len(places)} of {wrong.numel()} elements {how}; first at {first}: "
        f"{actual[first].item()!r}, wanted {expected[first].item()!r}"
    )
