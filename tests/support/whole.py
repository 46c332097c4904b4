"""Whole numbers for a product of int8: an int8 2:4 weight, x, scales that are powers of two."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from secateur.formats import FORMATS
from secateur.formats.base import Packed
from tests.support import data, truth


@dataclass(frozen=True)
class Whole:
    """The arguments of `secateur.backends.cuda.int8.product`, and the weight that was packed."""

    weight: Tensor
    mask: Tensor
    packed: Packed
    x: Tensor
    x_scale: Tensor | None
    scale: Tensor
    bias: Tensor | None = None
    residual: Tensor | None = None
    act: str = "none"

    @property
    def call(self) -> tuple[object, ...]:
        """The arguments, in order."""
        return (
            *(self.x, self.x_scale, self.packed, self.scale),
            *(self.bias, self.residual, self.act),
        )

    def truth(self) -> truth.Truth:
        """Return the answer, on the CPU."""
        ones = torch.ones(len(self.x))
        x_scale, scale, x = (t.cpu() for t in (self.x_scale_or(ones), self.scale, self.x))
        some = [None if t is None else t.cpu() for t in (self.bias, self.residual)]
        wide, weight = x_scale[:, None].double() * x, scale[:, None].double() * self.weight
        return truth.linear(wide, weight, self.mask, *some, self.act)

    def x_scale_or(self, ones: Tensor) -> Tensor:
        """Return the scales of x, or `ones`."""
        return ones if self.x_scale is None else self.x_scale


def whole(
    shape: tuple[int, int, int],
    device: torch.device | str = "cpu",
    *,
    fused: bool = False,
    act: str = "none",
) -> Whole:
    """Return a call of (rows, out, in), with all that can be fused to it, or scaled outputs alone.

    The first sum holds -128 times -128 twice.
    """
    rows, out, in_ = shape
    gen = data.generator(sum(shape))
    mask = torch.zeros(out, in_, dtype=torch.bool)
    mask[:, : in_ // 4 * 4] = data.nm_mask(out, in_ // 4 * 4, 2, 4, gen)
    weight = data.integers((out, in_), gen, torch.int8)
    weight[0, :4], mask[0, :4] = -128, torch.tensor([True, True, False, False])[:in_]
    x = data.integers((rows, in_), gen, torch.int8)
    x[:1, :2] = -128
    powers = torch.tensor([0.25, 0.5, 1.0, 2.0])
    pick = torch.randint(4, (rows + out,), generator=gen)
    packed = FORMATS.get("semi8").pack(weight.to(device), mask.to(device))
    scale = powers[pick[rows:]].to(device)
    found = Whole(weight, mask, packed, x.to(device), None, scale)
    if not fused:
        return found
    return replace(
        found,
        x_scale=powers[pick[:rows]].to(device),
        bias=data.integers((out,), gen).to(device),
        residual=data.integers((rows, out), gen).to(device),
        act=act,
    )
