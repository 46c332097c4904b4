"""The 64 bytes every `index` begins with, and how an index is put together from its sections.

Little endian throughout. Verdicts (which of sparse and dense was measured faster, for each bucket
of row counts) live here so that a compiled graph reads them at run time.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from secateur.formats.layout import Layout, round_up

Verdict = Literal["sparse", "dense"]

MAGIC = 0x52544353
VERSION = 1
HEADER_BYTES = 64
ALIGNMENT = 64  # of every section, bytes
TAIL_BYTES = 64  # spare zero bytes at the end, so that a kernel may load whole vectors
BUCKETS = 16
_MEASURED = slice(28, 36)  # verdicts and machine

_BYTES = struct.Struct("<IHBBIIIHHBBHIIIIIIIII")
_CODES: dict[Verdict, int] = {"sparse": 1, "dense": 2}


@dataclass(frozen=True)
class Header:
    """The header's fields, in the order of their bytes. Offsets are bytes; 0 means absent."""

    magic: int = MAGIC
    version: int = VERSION
    format: int = 0
    flags: int = 0
    in_features: int = 0
    out_features: int = 0
    nnz: int = 0
    k_block: int = 1
    row_block: int = 1
    n: int = 0
    m: int = 0
    spare: int = 0
    verdicts: int = 0
    machine: int = 0
    table_offset: int = 0
    rows_offset: int = 0
    runs_offset: int = 0
    columns_offset: int = 0
    spare_offset: int = 0
    perm_offset: int = 0
    spare_end: int = 0

    @classmethod
    def of(
        cls,
        format: int,
        shape: tuple[int, ...],
        nnz: int,
        layout: Layout,
        pattern: tuple[int, int] = (0, 0),
    ) -> Header:
        """Return the header of a weight before its sections are known.

        Args:
            format: the format's code.
            shape: (out, in).
            nnz: value slots in use.
            layout: how it is cut.
            pattern: n and m, as the format means them.
        """
        (out_features, in_features), (n, m) = shape, pattern
        return cls(
            format=format,
            in_features=in_features,
            out_features=out_features,
            nnz=nnz,
            k_block=layout.k_block,
            row_block=layout.row_block,
            n=n,
            m=m,
        )

    @classmethod
    def read(cls, index: Tensor) -> Header:
        """Read and check the header.

        Raises:
            TypeError: if `index` is not uint8.
            ValueError: if it is not a packed index of this layout version, or was cut short.
        """
        if index.dtype != torch.uint8:
            raise TypeError(f"index must be uint8, got {index.dtype}; pass the index of a Packed")
        if index.dim() != 1 or index.numel() < HEADER_BYTES + TAIL_BYTES:
            raise ValueError(
                f"index must be 1-D with at least {HEADER_BYTES + TAIL_BYTES} bytes, got "
                f"{list(index.shape)}; pass the index of a Packed"
            )
        header = cls(*_BYTES.unpack(index.detach()[:HEADER_BYTES].cpu().numpy().tobytes()))
        if header.magic != MAGIC:
            raise ValueError(
                f"index does not begin with the mark of a packed weight ({MAGIC:#x}), but with "
                f"{header.magic:#x}; pack the weight again"
            )
        if header.version != VERSION:
            raise ValueError(
                f"index has layout version {header.version}, this package reads {VERSION}; "
                "pack the weight again, or save and load the model"
            )
        if max(header.offsets.values()) + TAIL_BYTES > index.numel():
            raise ValueError(
                f"index was cut short: its sections reach beyond its {index.numel()} bytes; "
                "pack the weight again"
            )
        return header

    @property
    def layout(self) -> Layout:
        """How the weight was cut."""
        return Layout(self.k_block, self.row_block)

    @property
    def offsets(self) -> dict[str, int]:
        """Byte offset of each section."""
        names = ("table", "rows", "runs", "columns", "perm")
        return {name: getattr(self, f"{name}_offset") for name in names}

    def verdict(self, rows: int) -> Verdict | None:
        """What was measured faster for `rows` rows of x; None where nothing was measured."""
        code = self.verdicts >> (2 * bucket(rows)) & 3
        return {1: "sparse", 2: "dense"}.get(code)  # type: ignore[return-value]

    def section(self, index: Tensor, name: str, dtype: torch.dtype, count: int) -> Tensor:
        """Return a view of `count` elements of the named section."""
        start = self.offsets[name]
        return index[start : start + count * dtype.itemsize].view(dtype)


class Section(NamedTuple):
    """Bytes of a section, and the bytes to count for it in the index's length."""

    data: npt.NDArray[np.generic]
    reserve: int


def assemble(header: Header, sections: Mapping[str, Section]) -> Tensor:
    """Lay the sections out behind the header.

    The length follows from the reserves alone: what differs between two weights of one shape
    (the number of row runs) does not show in it.

    Raises:
        ValueError: if the index would not be addressable by 32-bit offsets.
    """
    sizes = {name: section.data.nbytes for name, section in sections.items()}
    reserved = sum(round_up(section.reserve, ALIGNMENT) for section in sections.values())
    header, length = _placed(header, sizes, reserved)
    result = torch.zeros(length, dtype=torch.uint8)
    result[:HEADER_BYTES] = _written(header)
    index = result.numpy()
    for name, section in sections.items():
        start = header.offsets[name]
        index[start : start + section.data.nbytes] = section.data.reshape(-1).view(np.uint8)
    return result


def frame(header: Header, sizes: Mapping[str, int], device: torch.device) -> Tensor:
    """Return an index on `device` with header and tail; its sections are for the caller to write.

    Args:
        header: without offsets.
        sizes: bytes of each section, multiples of `ALIGNMENT`.
        device: any.

    Raises:
        ValueError: if the index would not be addressable by 32-bit offsets.
    """
    header, length = _placed(header, sizes, sum(sizes.values()))
    index = torch.empty(length, dtype=torch.uint8, device=device)
    index[:HEADER_BYTES] = _written(header)
    index[-TAIL_BYTES:] = 0
    return index


def _placed(header: Header, sizes: Mapping[str, int], reserved: int) -> tuple[Header, int]:
    """Return the header with the sections' offsets, and the bytes of the whole index."""
    offsets: dict[str, int] = {}
    at = HEADER_BYTES
    for name, size in sizes.items():
        offsets[f"{name}_offset"] = at
        at += round_up(size, ALIGNMENT)
    length = HEADER_BYTES + reserved + TAIL_BYTES
    if length >= 2**32:
        raise ValueError(
            f"the index would take {length} bytes, the limit is 4 GiB; split the layer"
        )
    return replace(header, **offsets), length


def _written(header: Header) -> Tensor:
    """Return the header's bytes."""
    return torch.frombuffer(bytearray(_BYTES.pack(*astuple(header))), dtype=torch.uint8)


def bucket(rows: int) -> int:
    """Bucket of a row count: 0 for 0 or 1 row, then one for each power of two, 15 the last."""
    return min(BUCKETS - 1, (max(rows, 1) - 1).bit_length())


def verdict(index: Tensor, rows: int) -> Verdict | None:
    """What was measured faster for `rows` rows of x; None where nothing was measured.

    Raises:
        ValueError: if `index` is not a packed index.
    """
    return Header.read(index).verdict(rows)


def packed_alike(index: Tensor, other: Tensor) -> bool:
    """Tell whether two indices name the same positions in the same order, whatever was measured."""
    if index.shape != other.shape or index.device != other.device:
        return False
    alike = index == other
    alike[_MEASURED] = True
    return bool(alike.all())


def with_verdicts(index: Tensor, verdicts: Mapping[int, Verdict], machine: int) -> Tensor:
    """Return a copy of `index` that carries these verdicts.

    Verdicts that another machine left are dropped. Where two row counts of one bucket disagree,
    dense stands: no row count is then slower than dense.

    Args:
        index: a packed index.
        verdicts: "sparse" or "dense" for each row count measured.
        machine: stamp of the machine that measured, an unsigned 32-bit number.

    Raises:
        ValueError: if a verdict is neither word, or `index` is not a packed index.
    """
    header = Header.read(index)
    codes: dict[int, int] = {}
    for rows, word in verdicts.items():
        if word not in _CODES:
            raise ValueError(f"verdicts[{rows}] must be 'sparse' or 'dense', got {word!r}")
        codes[bucket(rows)] = max(codes.get(bucket(rows), 0), _CODES[word])
    bits = header.verdicts if header.machine == machine else 0
    for slot, code in codes.items():
        bits = bits & ~(3 << 2 * slot) | code << 2 * slot
    header = replace(header, verdicts=bits, machine=machine)
    copy = index.clone()
    copy[:HEADER_BYTES] = _written(header)
    return copy
