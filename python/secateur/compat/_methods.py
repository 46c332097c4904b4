"""The method classes of torch.nn.utils.prune: what each removes from the weights that are left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from secateur.compat import _held
from secateur.compat._choice import (
    along,
    check_channels,
    checked_amount,
    count,
    drawn,
    keep_highest,
)
from secateur.compat._combine import combined, scores
from secateur.pruning.select import Scores, keep_across


class BasePruningMethod:
    """A way of pruning; subclasses say what `compute_mask` keeps.

    Attributes:
        PRUNING_TYPE: what `compute_mask` is given once something is removed: of "unstructured" the
            weights that are left, flat; of "structured" the channels along `self.dim` that are not
            removed throughout; of "global" everything.
    """

    PRUNING_TYPE: ClassVar[str]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return which weights are kept, shaped like `t`; 0 or False where not.

        Args:
            t: the weights, or the scores given in their place.
            default_mask: bool, shaped like `t`; what is kept so far.
        """
        raise NotImplementedError

    @classmethod
    def apply(
        cls,
        module: nn.Module,
        name: str,
        *args: Any,
        importance_scores: Tensor | None = None,
        **kwargs: Any,
    ) -> BasePruningMethod:
        """Prune the parameter `name` of `module` in place with `cls(*args, **kwargs)`.

        Raises:
            ValueError: if the parameter cannot be pruned, or the amount makes no sense; the module
                is then as it was.
        """
        method = cls(*args, **kwargs)
        t = scores(module, name, importance_scores)
        _held.hold(module, name, combined(method, t, _held.mask_of(module, name)))
        return method

    def prune(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> Tensor:
        """Return `t` with the weights set to zero that `compute_mask` does not keep."""
        mask = torch.ones_like(t, dtype=torch.bool) if default_mask is None else default_mask != 0
        kept = self.compute_mask(t if importance_scores is None else importance_scores, mask) != 0
        return torch.where(kept, t, torch.zeros((), dtype=t.dtype, device=t.device))


class Identity(BasePruningMethod):
    """Removes nothing."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return `default_mask`."""
        return default_mask


class L1Unstructured(BasePruningMethod):
    """Removes the weights of the least absolute value.

    Args:
        amount: a float is a fraction in [0, 1] of what is left, an int a count.
    """

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: float) -> None:
        self.amount = checked_amount(amount)

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return `default_mask` without the smallest weights."""
        return default_mask & keep_highest(t.detach().abs(), self.amount)

    def across(self, layers: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Return `masks` without the smallest weights of all; layers are never joined."""
        n, left = sum(m.numel() for m in masks), sum(int(m.sum()) for m in masks)
        removed = n - left + count(self.amount, left)
        if removed == n - left:
            return list(masks)
        dtype = torch.float64 if any(t.dtype == torch.float64 for t in layers) else torch.float32

        def magnitudes(t: Tensor, mask: Tensor) -> Scores:
            return lambda: t.detach().abs().to(dtype).masked_fill(~mask, -math.inf)

        pairs = list(zip(layers, masks, strict=True))
        keep = keep_across([magnitudes(t, m) for t, m in pairs], removed / n)
        return [kept & mask for kept, mask in zip(keep, masks, strict=True)]


class RandomUnstructured(BasePruningMethod):
    """Removes weights drawn uniformly.

    Args:
        amount: as in `L1Unstructured`.
        generator: where the draws come from; None: torch's default one, and then the draws are
            those that torch.nn.utils.prune makes for a float32 or float64 weight on the CPU.
    """

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: float, generator: torch.Generator | None = None) -> None:
        self.amount, self.generator = checked_amount(amount), generator

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return `default_mask` without as many weights as are asked for."""
        dtype = t.dtype if t.dtype == torch.float64 else torch.float32
        if not count(self.amount, t.numel()):
            return default_mask
        return default_mask & keep_highest(-drawn(t.shape, self.generator, dtype, t), self.amount)


class LnStructured(BasePruningMethod):
    """Removes the channels of the smallest Ln norm.

    Args:
        amount: as in `L1Unstructured`, of channels.
        n: order of the norm, as in torch.norm: any number, inf, -inf, "fro", "nuc".
        dim: the dimension along which channels are counted.
    """

    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, n: float | str, dim: int = -1) -> None:
        self.amount, self.n, self.dim = checked_amount(amount), n, dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return `default_mask` without the channels of least norm."""
        check_channels(t, self.dim)
        if not count(self.amount, t.shape[self.dim]):
            return default_mask
        others = [d for d in range(t.dim()) if d != self.dim % t.dim()]
        # torch.norm itself: another way to the same norm would round in another way.
        norm = torch.norm(t.detach(), p=self.n, dim=others)
        return default_mask & along(keep_highest(norm, self.amount), t, self.dim)


class RandomStructured(BasePruningMethod):
    """Removes channels drawn uniformly.

    Args:
        amount: as in `L1Unstructured`, of channels.
        dim: the dimension along which channels are counted.
        generator: as in `RandomUnstructured`; torch draws channels in float32, on the CPU.
    """

    PRUNING_TYPE = "structured"

    def __init__(
        self, amount: float, dim: int = -1, generator: torch.Generator | None = None
    ) -> None:
        self.amount, self.dim, self.generator = checked_amount(amount), dim, generator

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return `default_mask` without as many channels as are asked for."""
        check_channels(t, self.dim)
        n = t.shape[self.dim]
        if not count(self.amount, n):
            return default_mask
        uniform = drawn(torch.Size([n]), self.generator, torch.float32, t)
        return default_mask & along(keep_highest(uniform, self.amount), t, self.dim)


class CustomFromMask(BasePruningMethod):
    """Removes what a mask says, beside what is removed already; the mask is not kept.

    Args:
        mask: shaped like the parameter, 0 or False where a weight goes.
    """

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return `default_mask` and the mask."""
        if self.mask.shape != t.shape:
            wanted, came = list(t.shape), list(self.mask.shape)
            raise ValueError(f"mask must be shaped like the parameter, {wanted}, not {came}")
        return default_mask & (self.mask.to(default_mask.device) != 0)
