"""How much an amount is, and which scores are the lowest; what `_methods` chooses with.

All choices go through `secateur.pruning.select`: exact counts, ties to the lowest index.
"""

from __future__ import annotations

from numbers import Integral, Real

import torch
from torch import Tensor

from secateur.pruning.select import keep_per_row


def checked_amount(amount: object) -> float:
    """Return `amount`, an int (a count) or a float (a fraction).

    Raises:
        TypeError: if it is no number.
        ValueError: if it is a fraction out of [0, 1], or a negative count.
    """
    if isinstance(amount, bool) or not isinstance(amount, Real):
        raise TypeError(f"amount must be a fraction in [0, 1] or a count, not {amount!r}")
    if isinstance(amount, Integral):
        if amount < 0:
            raise ValueError(f"amount is a count of at least 0, or a fraction, not {int(amount)}")
        return int(amount)
    if 0 <= float(amount) <= 1:
        return float(amount)
    hint = f"; did you mean {float(amount) / 100:g}?" if 1 < float(amount) < 100 else ""
    raise ValueError(f"amount as a float is a fraction, in [0, 1], not {float(amount):g}{hint}")


def count(amount: float, n: int) -> int:
    """Return how many of `n` an amount is.

    Raises:
        ValueError: if it is a count, and more than there are.
    """
    if not isinstance(amount, int):
        return round(amount * n)
    if amount > n:
        raise ValueError(f"amount={amount} is more than the {n} that are left to prune")
    return amount


def keep_highest(t: Tensor, amount: float) -> Tensor:
    """Mark all but the `amount` lowest of `t`; of equals the lowest index stays."""
    n = t.numel()
    return keep_per_row(t.reshape(1, n), n - count(amount, n)).view(t.shape)


def along(channels: Tensor, t: Tensor, dim: int) -> Tensor:
    """Return `channels`, bool [t.shape[dim]], spread over the other dimensions of `t`."""
    shape = [1] * t.dim()
    shape[dim] = len(channels)
    return channels.view(shape).expand(t.shape)


def check_channels(t: Tensor, dim: int) -> None:
    """Raise unless `t` has channels along `dim`."""
    if t.dim() < 2:
        raise ValueError(f"structured pruning needs at least 2 dimensions, not {list(t.shape)}")
    if not -t.dim() <= dim < t.dim():
        raise IndexError(f"dim={dim} is none of the {t.dim()} dimensions of {list(t.shape)}")


def drawn(
    shape: torch.Size, generator: torch.Generator | None, dtype: torch.dtype, like: Tensor
) -> Tensor:
    """Return uniform numbers on the device of `like`, drawn where the generator is."""
    generator = generator or torch.default_generator
    uniform = torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
    return uniform.to(like.device)
