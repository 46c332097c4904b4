"""A packer that puts one number at a time where docs/packed-weight.md says. Slow, and obvious.

It shares nothing with the package but the numbers by which lengths are rounded.
"""

from __future__ import annotations

import struct

import numpy as np
import torch
from torch import Tensor

Words = list[int]
_NO_VERDICTS = (0, 0)


def csr(weight: Tensor, mask: Tensor, k_block: int, row_block: int) -> tuple[Tensor, Tensor]:
    """Return (values, index) of the csr format."""
    out, in_ = mask.shape
    kept = mask.tolist()
    order: list[tuple[int, int]] = []  # position of each value
    table, rows, runs, columns, run_limit = b"", b"", b"", b"", 0
    row_at = run_at = 0
    for r0 in range(0, out, row_block):
        for k0 in range(0, in_, k_block):
            height, width = min(row_block, out - r0), min(k_block, in_ - k0)
            found = [[k for k in range(width) if kept[r0 + r][k0 + k]] for r in range(height)]
            sorted_rows = sorted(range(height), key=lambda r: (-len(found[r]), r))
            lengths = [len(found[r]) for r in sorted_rows]
            distinct = sorted(set(lengths), reverse=True)
            table += struct.pack("<IIII", len(order), run_at, len(distinct), row_at)
            for row in sorted_rows:
                rows += struct.pack("<H", row)
                columns += bytes(found[row])
                order += [(r0 + row, k0 + k) for k in found[row]]
            for length in distinct:
                runs += struct.pack("<HH", length, lengths.count(length))
            run_limit += min(height, width + 1)
            row_at, run_at = row_at + height, run_at + len(distinct)
    step = max(16, -(-out * in_ // 64))
    length = -(-(len(order) + 16) // step) * step
    sections = [(table, len(table)), (rows, len(rows)), (runs, 4 * run_limit), (columns, length)]
    fields = (in_, out, len(order), k_block, row_block, 0, 0, 0)
    return _values(weight, order, length), _index(1, fields, sections)


def nm(weight: Tensor, mask: Tensor, n: int, m: int, cut: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return (values, index) of the nm format; `cut` is (k_block, row_block)."""
    out, in_ = mask.shape
    k_block, row_block = cut
    kept = mask.tolist()
    bits = 2 if m <= 4 else 4
    order: list[tuple[int, int]] = []
    packed = b""
    for r0 in range(0, out, row_block):
        for k0 in range(0, in_, k_block):
            for row in range(r0, min(r0 + row_block, out)):
                codes: Words = []
                for g in range(k0, min(k0 + k_block, in_), m):
                    chosen = [j for j in range(m) if kept[row][g + j]]
                    free = [j for j in range(m) if not kept[row][g + j]]
                    chosen = sorted(chosen + free[: n - len(chosen)])
                    codes += chosen
                    order += [(row, g + j) for j in chosen]
                number = sum(code << bits * i for i, code in enumerate(codes))
                packed += number.to_bytes(-(-len(codes) * bits // 32) * 4, "little")
    fields = (in_, out, len(order), k_block, row_block, n, m, 0)
    pruned = weight.masked_fill(~mask, 0)
    values = _values(pruned, order, len(order) + 16)
    return values, _index(2, fields, [(b"", 0)] * 3 + [(packed, len(packed))])


def bitmap(weight: Tensor, mask: Tensor, k_block: int, row_block: int) -> tuple[Tensor, Tensor]:
    """Return (values, index) of the bitmap format."""
    out, in_ = mask.shape
    kept = mask.tolist()
    order: list[tuple[int, int]] = []
    first, bits = b"", b""
    for row in range(out):
        first += struct.pack("<I", len(order))
        columns = [k for k in range(in_) if kept[row][k]]
        bits += sum(1 << k for k in columns).to_bytes(-(-in_ // 64) * 8, "little")
        order += [(row, k) for k in columns]
    step = max(16, -(-out * in_ // 64))
    length = -(-(len(order) + 16) // step) * step
    fields = (in_, out, len(order), k_block, row_block, 0, 0, 0)
    sections = [(b"", 0), (first, len(first)), (b"", 0), (bits, len(bits))]
    return _values(weight, order, length), _index(5, fields, sections)


def sell(weight: Tensor, mask: Tensor, k_block: int, row_block: int) -> tuple[Tensor, Tensor]:
    """Return (values, index) of the sell format."""
    out, in_ = mask.shape
    kept = mask.tolist()
    order: list[tuple[int, int]] = []
    table, rows, counts, columns = b"", b"", b"", b""
    for r0 in range(0, out, row_block):
        for k0 in range(0, in_, k_block):
            height, width = min(row_block, out - r0), min(k_block, in_ - k0)
            found = [[k for k in range(width) if kept[r0 + r][k0 + k]] for r in range(height)]
            sorted_rows = sorted(range(height), key=lambda r: (-len(found[r]), r))
            table += struct.pack("<I", len(order))
            for row in sorted_rows:
                rows += struct.pack("<H", row)
                counts += struct.pack("<H", len(found[row]))
            for at in range(0, height, 8):
                some = sorted_rows[at : at + 8]
                steps = range(max(len(found[row]) for row in some))
                places = [
                    (row, found[row][step])
                    for step in steps
                    for row in some
                    if step < len(found[row])
                ]
                columns += bytes(k for _, k in places)
                order += [(r0 + row, k0 + k) for row, k in places]
    step = max(16, -(-out * in_ // 64))
    length = -(-(len(order) + 16) // step) * step
    fields = (in_, out, len(order), k_block, row_block, 0, 0, 0)
    sections = [(part, len(part)) for part in (table, rows, counts)] + [(columns, length)]
    return _values(weight, order, length), _index(6, fields, sections)


def _values(weight: Tensor, order: list[tuple[int, int]], length: int) -> Tensor:
    values = torch.zeros(length, dtype=weight.dtype)
    for at, (row, column) in enumerate(order):
        values[at] = weight[row, column]
    return values


def _index(code: int, fields: tuple[int, ...], sections: list[tuple[bytes, int]]) -> Tensor:
    offsets, body, reserved = [], b"", 0
    for data, reserve in sections:
        offsets.append(64 + len(body) if data or reserve else 0)
        body += data + bytes(-len(data) % 64)
        reserved += reserve + -reserve % 64
    head = struct.pack("<IHBBIIIHHBBH", 0x52544353, 1, code, 0, *fields)
    head += struct.pack("<9I", *_NO_VERDICTS, *offsets, 0, 0, 0)
    whole = head + body + bytes(64 + reserved + 64 - len(head) - len(body))
    return torch.from_numpy(np.frombuffer(whole, np.uint8).copy())
