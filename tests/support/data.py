"""What tests run on: integer data, masks of every kind, sizes around every width. No answers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from secateur.formats import DEFAULT_LAYOUT, FORMATS, Packed

VECTOR_WIDTHS = (4, 8, 16, 32, 64)
LIMIT = 4  # of integer data: sums of 2**20 products of it are exact in float32


def sizes_around(*widths: int) -> list[int]:
    """Return each width, its neighbours, and 1; ascending."""
    near = {1} | {width + step for width in widths for step in (-1, 0, 1)}
    return sorted(size for size in near if size >= 1)


def vector_sizes() -> list[int]:
    """Return every size around a vector width."""
    return sizes_around(*VECTOR_WIDTHS)


def block_sizes() -> list[int]:
    """Return every size around a border of a block, in any layout that is chosen by itself."""
    return sizes_around(DEFAULT_LAYOUT.k_block, 192, 256, DEFAULT_LAYOUT.row_block)


def generator(seed: int = 0) -> torch.Generator:
    """Return a seeded generator."""
    return torch.Generator().manual_seed(seed)


def integers(
    shape: Sequence[int], gen: torch.Generator, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return whole numbers in [-LIMIT, LIMIT]: their sums do not depend on the order."""
    return torch.randint(-LIMIT, LIMIT + 1, tuple(shape), generator=gen).to(dtype)


def reals(shape: Sequence[int], gen: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return normal numbers of `dtype`."""
    return torch.randn(tuple(shape), generator=gen, dtype=torch.float64).to(dtype)


def random_mask(out: int, in_: int, density: float, gen: torch.Generator) -> Tensor:
    """Return [out, in_], each position kept with probability `density`."""
    return torch.rand(out, in_, generator=gen) < density


def nm_mask(out: int, in_: int, n: int, m: int, gen: torch.Generator) -> Tensor:
    """Return [out, in_] that keeps exactly `n` of every `m` along a row."""
    order = torch.rand(out, in_ // m, m, generator=gen).argsort(dim=2)
    return (order < n).reshape(out, in_)


def block_mask(out: int, in_: int, r: int, c: int, gen: torch.Generator) -> Tensor:
    """Return [out, in_] of r x c blocks, half of each row of blocks kept; edges cut the last."""
    wide = -(-in_ // c)
    order = torch.rand(-(-out // r), wide, generator=gen).argsort(dim=1)
    kept = order < (wide + 1) // 2
    return kept.repeat_interleave(r, 0).repeat_interleave(c, 1)[:out, :in_]


def crossed_mask(out: int, in_: int, gen: torch.Generator) -> Tensor:
    """Return [out, in_] without some of its rows and columns, everything else kept."""
    rows, columns = (torch.rand(n, generator=gen) < 0.7 for n in (out, in_))
    return rows[:, None] & columns


def mask_for(name: str, out: int, in_: int, gen: torch.Generator) -> Tensor:
    """Return a mask [out, in_], half kept, that the format `name` takes; in_ divisible by 4."""
    tried = [
        nm_mask(out, in_, 2, 4, gen),
        block_mask(out, in_, 4, 1, gen),
        block_mask(out, in_, 1, 4, gen),
        nm_mask(1, in_, 2, 4, gen).expand(out, in_).clone(),
    ]
    return next(mask for mask in tried if FORMATS.get(name).fits(mask) is None)


def masks(out: int, in_: int, gen: torch.Generator) -> dict[str, Tensor]:
    """Return masks of every kind for one shape; a format takes those that fit it."""
    found = {f"density {d}": random_mask(out, in_, d, gen) for d in (0.05, 0.19, 0.5, 0.9)}
    found["all kept"] = torch.ones(out, in_, dtype=torch.bool)
    found["all pruned"] = torch.zeros(out, in_, dtype=torch.bool)
    ragged = random_mask(out, in_, 0.4, gen)
    ragged[::3] = False
    ragged[1::5] = True
    found["empty and full rows"] = ragged
    lone = torch.zeros(out, in_, dtype=torch.bool)
    lone[-1, -1] = True
    found["only the last"] = lone
    for n, m in ((2, 4), (1, 4), (1, 2), (4, 8), (3, 16), (2, 3), (3, 5), (4, 10)):
        if in_ % m == 0:
            found[f"{n}:{m}"] = nm_mask(out, in_, n, m, gen)
    for r, c in ((4, 1), (8, 1), (16, 1), (1, 8), (4, 4), (16, 16), (32, 32)):
        found[f"{r}x{c} blocks"] = block_mask(out, in_, r, c, gen)
    found["rows and columns"] = crossed_mask(out, in_, gen)
    return found


def nan_margins(tensor: Tensor, width: int = 64) -> Tensor:
    """Return `tensor`'s numbers between margins of NaN, where a read out of bounds shows."""
    padded = torch.full((tensor.numel() + 2 * width,), float("nan"), dtype=tensor.dtype)
    middle = padded[width : width + tensor.numel()]
    middle.copy_(tensor.reshape(-1))
    return middle.view(tensor.shape)


def retyped(packed: Packed, dtype: torch.dtype) -> tuple[Packed, Tensor | None]:
    """The packed weight with values of another type; int8 with a scale of powers of two."""
    values = packed.values.to(dtype)
    scale = None
    if dtype == torch.int8:
        scale = 2.0 ** torch.arange(packed.out_features).remainder(3).float()
    return Packed(
        packed.format, values, packed.index, packed.in_features, packed.out_features
    ), scale
