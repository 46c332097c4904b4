"""What a sparse convolution needs beside its operands: scratch, as the allocator counts it."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from benchmarks import conv_subject
from benchmarks.conv_cases import ConvCase, Shape
from benchmarks.report import aligned
from benchmarks.resident import Unknown

SHAPES = (
    Shape(64, 64, 56, 3),
    Shape(64, 256, 56),
    Shape(128, 128, 56, 3, 2),
    Shape(256, 512, 56, 1, 2),
    Shape(3, 64, 224, 7, 2),
    Shape(256, 256, 14, 3),
    Shape(512, 512, 7, 3),
)


@dataclass(frozen=True)
class Scratch:
    """Bytes of one convolution.

    Args:
        label: what it is.
        operands: of x and y.
        unfolded: of x as a matrix of weight columns, which is what unfolding would take.
        got: what a call allocated beside y, and holds for the next.
    """

    label: str
    operands: int
    unfolded: int
    got: int

    @property
    def missed(self) -> bool:
        """Whether it is more than x and y together."""
        return self.got > self.operands


def run() -> Iterator[Scratch]:
    """Measure one image of every shape, in both memory formats.

    Raises:
        Unknown: where the allocator does not tell.
    """
    for shape in SHAPES:
        case = ConvCase(shape, 1, "csr", 0.9)
        conv = conv_subject.make_conv(case)
        (bind,) = conv_subject.make(case, conv).binders
        for name, last in (("", torch.contiguous_format), (" nhwc", torch.channels_last)):
            x = conv_subject.images_of(case).contiguous(memory_format=last)
            unfolded = 4 * case.rows * case.layer.in_features
            label = shape.label + name
            yield Scratch(label, 4 * case.elements, unfolded, held(bind(x)))


def held(call: Callable[[], object]) -> int:
    """Return the bytes that a call leaves allocated, its result let go of, on a new thread.

    Scratch belongs to a thread and is kept for its next call: on a new thread there is none yet,
    and all that a call needs is found after it. One call is made on this thread before, so that
    what is built once is not counted.

    Raises:
        Unknown: without glibc's mallinfo2.
    """
    info = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if info is None:
        raise Unknown("the C library has no mallinfo2")
    info.restype = _Info
    found: list[int] = []

    def measure() -> None:
        with torch.inference_mode():
            torch.zeros(1).add(1)  # torch's own, of a thread
            before = info().in_use
            call()
            found.append(info().in_use - before)

    with torch.inference_mode():
        call()
    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    return found[0]


def lines(measured: list[Scratch]) -> list[str]:
    """Return the table, in KB: asked is x and y together, got what the allocator counts."""
    rows = [["convolution", "x unfolded KB", "scratch KB, asked/got"]]
    for each in measured:
        miss = " miss" if each.missed else ""
        cell = f"{each.operands / 1e3:.0f}/{each.got / 1e3:.0f}{miss}"
        rows.append([each.label, f"{each.unfolded / 1e3:.0f}", cell])
    return aligned(rows)


class _Info(ctypes.Structure):
    """struct mallinfo2 of glibc's malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks"),
            *("uordblks", "fordblks", "keepcost"),
        )
    ]

    @property
    def in_use(self) -> int:
        """Bytes handed out: from arenas, and mapped for one allocation each."""
        return int(self.uordblks) + int(self.hblkhd)
