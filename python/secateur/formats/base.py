"""What all packed formats share: the packed tensors and the contract.

The bytes of a format are in its own file, the header they all begin with in header.py, and the
numbers by which a weight is cut in layout.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from secateur._registry import Registry
from secateur.formats.header import Header
from secateur.formats.layout import DEFAULT_LAYOUT, Layout, grouped


@dataclass(frozen=True)
class Packed:
    """One packed weight.

    Args:
        format: name of the format in `FORMATS`.
        values: 1-D floating tensor, kept weights in the format's order, zeros after them, and
            between them where the format pads its tiles (`Format.occupied`).
        index: 1-D uint8 tensor, header and positions.
        in_features: columns of the weight.
        out_features: rows of the weight.
    """

    format: str
    values: Tensor
    index: Tensor
    in_features: int
    out_features: int

    @property
    def nbytes(self) -> int:
        """Bytes of both tensors."""
        return self.values.nbytes + self.index.nbytes


class Format(ABC):
    """Turns (weight, mask) into packed tensors and back. Holds no state of its own."""

    name: ClassVar[str]
    code: ClassVar[int]

    def fits(self, mask: Tensor) -> str | None:
        """Return why `mask` ([out, in], bool) cannot be packed, or None if it can."""
        check_mask(mask)
        return None

    @abstractmethod
    def pack(self, weight: Tensor, mask: Tensor, layout: Layout | None = None) -> Packed:
        """Pack the kept weights as they are, infinities and NaN too; the others are not looked at.

        Args:
            weight: [out, in], float64, float32, bfloat16 or float16.
            mask: [out, in], bool, True where a weight is kept.
            layout: how to cut the weight; None is the format's default.

        Returns:
            Tensors on the weight's device, detached from its graph.

        Raises:
            TypeError: if a dtype is not one of those above.
            ValueError: if the shapes differ, the mask does not fit the format, there are too many
                values, or the weight has none (device meta).
        """

    def layout(self, mask: Tensor) -> Layout:
        """Return how `pack` cuts a weight of this `mask` where it is not told."""
        return DEFAULT_LAYOUT

    def divides(self, mask: Tensor, groups: int) -> bool:
        """Tell whether a convolution's weight can be cut between its groups, as kernels need it."""
        return True

    def conv_layout(self, mask: Tensor, groups: int) -> Layout:
        """Return how a convolution's weight is cut: no row block has rows of two groups."""
        return grouped(self.layout(mask), len(mask), groups)

    def slots(self, mask: Tensor) -> int:
        """Return how many value slots a fitting `mask` takes: kept weights, and fillers if any."""
        return int(mask.count_nonzero())

    def pattern(self, mask: Tensor) -> tuple[int, ...]:
        """Return what of a fitting `mask`, beside its count, decides how fast its weight runs."""
        return ()

    def occupied(self, index: Tensor) -> slice | Tensor:
        """Return which elements of `values` are slots in use, ascending: a slice, or int64.

        All others are padding: zero, and of zero gradient.
        """
        return slice(0, Header.read(index).nnz)

    @abstractmethod
    def positions(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows, columns), int64, one pair for each value slot in use, in value order."""

    @abstractmethod
    def transpose(self, index: Tensor) -> Tensor:
        """Return the csr index of the transposed weight, over the SAME values.

        Its permutation section (int32, as long as a csr `values` of that weight) tells for each
        slot of the transposed order which slot of `values` holds it; the slots past the last
        weight point at a padding zero.
        """

    def unpack(self, values: Tensor, index: Tensor) -> Tensor:
        """Return the dense weight, [out, in], zeros where nothing is kept; differentiable."""
        header = Header.read(index)
        rows, columns = self.positions(index)
        dense = values.new_zeros(header.out_features, header.in_features)
        return dense.index_put((rows, columns), values[self.occupied(index)])


FORMATS: Registry[Format] = Registry("format", "secateur.formats")

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_mask(mask: Tensor) -> None:
    """Check that `mask` is a 2-D bool tensor with no empty side.

    Raises:
        TypeError: if it is not bool.
        ValueError: if it is not 2-D or has an empty side.
    """
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be bool, got {mask.dtype}; use for example weight != 0")
    if mask.dim() != 2 or 0 in mask.shape:
        raise ValueError(f"mask must be [out, in] with neither zero, got {list(mask.shape)}")


def check_numbers(weight: Tensor, also: tuple[torch.dtype, ...] = ()) -> None:
    """Check that `weight` has a packable dtype and has numbers.

    Args:
        weight: any.
        also: dtypes that a format takes beside the floating ones.

    Raises:
        TypeError: if the dtype is not packable.
        ValueError: if it is on the device meta.
    """
    if weight.dtype not in _FLOATS + also:
        wanted = ", ".join(str(dtype) for dtype in _FLOATS + also)
        raise TypeError(f"weight must be one of {wanted}, got {weight.dtype}; convert it first")
    if weight.is_meta:
        raise ValueError("weight is on the device meta, where it has no numbers; load it first")


def check_weight(weight: Tensor, mask: Tensor, also: tuple[torch.dtype, ...] = ()) -> None:
    """Check that `weight` is packable and shaped like `mask`.

    Raises:
        TypeError: if the dtype is not packable, see `check_numbers`.
        ValueError: if the shapes differ, or either is on the device meta.
    """
    check_mask(mask)
    check_numbers(weight, also)
    if weight.shape != mask.shape:
        raise ValueError(
            f"weight and mask must have one shape, got {list(weight.shape)} and {list(mask.shape)}"
        )
    if mask.is_meta:
        raise ValueError("mask is on the device meta, where it has no numbers; load it first")
