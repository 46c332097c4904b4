"""Packing and unpacking of 2:4 as ops of torch, so that a device may have kernels of its own.

The definitions are plain torch, in _pairs.py; secateur.backends adds what GPUs run.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from secateur.formats.base import FORMATS
from secateur.formats.header import HEADER_BYTES, TAIL_BYTES
from secateur.formats.layout import VALUE_PADDING

_LIBRARY: Any = torch.library.Library("secateur", "FRAGMENT")
_LIBRARY.define("pairs_pack(Tensor weight, Tensor? mask, str format) -> (Tensor, Tensor)")
_LIBRARY.define(
    "pairs_unpack(Tensor values, Tensor index, int out_features, int in_features, str format)"
    " -> Tensor"
)


class Definition(Protocol):
    """A format of 2:4, as far as the ops know it."""

    def padded(self, out_features: int, in_features: int) -> tuple[int, int]:
        """Return the weight's sides, rounded up to whole tiles."""

    def packed_by_torch(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return values and index."""

    def unpacked_by_torch(self, values: Tensor, index: Tensor) -> Tensor:
        """Return the dense weight."""


def pack(weight: Tensor, mask: Tensor | None, format: str) -> tuple[Tensor, Tensor]:
    """Return values and index of a weight, both on its device.

    Args:
        weight: [out, in].
        mask: bool [out, in], on the weight's device; None: the two largest of every four are kept.
        format: name of a format of 2:4.
    """
    values, index = torch.ops.secateur.pairs_pack(weight, mask, format)
    return values, index


def unpack(values: Tensor, index: Tensor, shape: tuple[int, int], format: str) -> Tensor:
    """Return the dense weight of `shape`, (out, in); it has no gradient."""
    dense: Tensor = torch.ops.secateur.pairs_unpack(values, index, *shape, format)
    return dense


def definition(format: str) -> Definition:
    """Return the format itself, which has the definitions."""
    found: Any = FORMATS.get(format)
    return found  # type: ignore[no-any-return]


def _pack(weight: Tensor, mask: Tensor | None, format: str) -> tuple[Tensor, Tensor]:
    return definition(format).packed_by_torch(weight, mask)


def _unpack(
    values: Tensor, index: Tensor, out_features: int, in_features: int, format: str
) -> Tensor:
    return definition(format).unpacked_by_torch(values, index)


def _fake_pack(weight: Tensor, mask: Tensor | None, format: str) -> tuple[Tensor, Tensor]:
    rows, columns = definition(format).padded(*weight.shape)
    size = HEADER_BYTES + rows * columns // 8 + TAIL_BYTES
    values = weight.new_empty(rows * columns // 2 + VALUE_PADDING)
    return values, weight.new_empty(size, dtype=torch.uint8)


def _fake_unpack(
    values: Tensor, index: Tensor, out_features: int, in_features: int, format: str
) -> Tensor:
    return values.new_empty(out_features, in_features)


for _name, _run, _fake in (
    ("pairs_pack", _pack, _fake_pack),
    ("pairs_unpack", _unpack, _fake_unpack),
):
    _LIBRARY.impl(_name, _run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"secateur::{_name}", _fake, lib=_LIBRARY)
