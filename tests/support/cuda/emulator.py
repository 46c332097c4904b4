"""Runs a kernel by its name on the emulated GPU, on CPU tensors, and says what it did."""

from __future__ import annotations

import contextlib
import ctypes
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tests.support.cuda import structs
from tests.support.cuda.library import Library

_USES = {"read": 0, "write": 1, "both": 2}
_ALIGNED = 256  # bytes: what torch's allocator gives at least


@dataclass(frozen=True)
class Outcome:
    """What was found and counted in one launch or more.

    Args:
        findings: kind -> count and first messages, of csrc/cuda/emu/report.h.
        counters: name -> count; likewise.
        buffers: field of the arguments -> bytes and sectors read and written.
        reads: field -> how often each byte of it was read by a warp instruction, int32.
        tensors: what the fields pointed to, the workspace included.
    """

    findings: dict[str, dict[str, object]]
    counters: dict[str, int]
    buffers: dict[str, dict[str, int]]
    reads: dict[str, Tensor]
    tensors: dict[str, Tensor]

    def clean(self) -> None:
        """Raise if there is any finding."""
        lines = [
            f"{kind}, {found['count']} times: {text}"
            for kind, found in self.findings.items()
            for text in found["first"]  # type: ignore[attr-defined]
        ]
        assert not self.findings, "\n".join(lines)


class Emulator(Library):
    """The emulated library."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._multiprocessors = 108
        c = self.c
        c.secateur_emu_begin.argtypes = [ctypes.c_uint64, ctypes.c_int]
        c.secateur_emu_multiprocessors.argtypes = [ctypes.c_int]
        c.secateur_emu_buffer.restype = ctypes.c_uint64
        c.secateur_emu_buffer.argtypes = [
            ctypes.c_char_p,
            ctypes.c_void_p,
            ctypes.c_int64,
            ctypes.c_int,
            ctypes.c_int64,
            ctypes.c_int,
        ]
        c.secateur_emu_reads.restype = ctypes.POINTER(ctypes.c_uint16)
        c.secateur_emu_reads.argtypes = [ctypes.c_char_p]
        c.secateur_emu_report.restype = ctypes.c_char_p

    @contextlib.contextmanager
    def of_size(self, multiprocessors: int) -> Iterator[None]:
        """Launch on a GPU of so many multiprocessors, inside."""
        before, self._multiprocessors = self._multiprocessors, multiprocessors
        try:
            yield
        finally:
            self._multiprocessors = before

    def launch(
        self,
        name: str,
        fields: dict[str, Tensor | int | float | None],
        *,
        seed: int = 0,
        resident: int = 1,
        counted: Collection[str] = (),
        times: int = 1,
    ) -> Outcome:
        """Run kernel `name`, and return what it did; its outputs are written in place.

        Args:
            name: of the kernel, <op>_<file>.
            fields: of the op's struct. A tensor becomes a buffer with nothing around it: what
                leaves it is found. Pointers left out are null, numbers 0. A `workspace` left out
                is made, of zeros, as large as the kernel asks.
            seed: of the order in which threads run; 0 runs them as they come.
            resident: blocks that run interleaved.
            counted: tensors of which reads of each byte are counted.
            times: launches, one after the other, on the same buffers; `y` is made what it was
                before each, or a launch that writes nothing would seem right.

        Raises:
            ValueError: if the kernel refuses, with its reason.
            RuntimeError: if a launch returns an error.
        """
        struct = structs.args_of(self.kernel(name).op)
        unknown = set(fields) - {field for field, *_ in struct._fields_}
        assert not unknown, f"{struct.__name__} has no {sorted(unknown)}"
        self.c.secateur_emu_begin(seed, resident)
        self.c.secateur_emu_multiprocessors(self._multiprocessors)
        tensors: dict[str, Tensor] = {}
        args = struct()

        def point(field: str, tensor: Tensor) -> None:
            tensors[field] = tensor
            use = "read" if field in struct.inputs else "both"  # type: ignore[attr-defined]
            setattr(args, field, self._buffer(field, tensor, use, field in counted))

        for field, value in fields.items():
            if isinstance(value, Tensor):
                point(field, value)
            elif value is not None:
                setattr(args, field, value)
        why = self.refusal(name, args)
        if why:
            raise ValueError(f"{name} refuses: {why}")
        wanted = self.workspace(name, args)
        if wanted and "workspace" not in tensors:
            point("workspace", torch.zeros(wanted, dtype=torch.uint8))
        before = tensors["y"].clone() if times > 1 else None
        for _ in range(times):
            if before is not None:
                tensors["y"].copy_(before)
            error = self.run(name, args)
            if error:
                raise RuntimeError(f"{name}: CUDA error {error}")
        return self._outcome(tensors, counted)

    def _buffer(self, name: str, tensor: Tensor, use: str, counted: bool) -> int:
        size = tensor.element_size()
        last = sum(
            (n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True)
        )
        length = size * (last + 1) if tensor.numel() else 0
        shift = tensor.storage_offset() * size % _ALIGNED
        return int(
            self.c.secateur_emu_buffer(
                name.encode(), tensor.data_ptr(), length, _USES[use], shift, int(counted)
            )
        )

    def _outcome(self, tensors: dict[str, Tensor], counted: Collection[str]) -> Outcome:
        found = json.loads(self.c.secateur_emu_report())
        reads = {}
        for name in counted:
            times = self.c.secateur_emu_reads(name.encode())
            length = found["buffers"][name]["bytes"]
            reads[name] = torch.tensor(times[:length], dtype=torch.int32)
        return Outcome(found["findings"], found["counters"], found["buffers"], reads, tensors)


def poisoned(*shape: int, dtype: torch.dtype) -> Tensor:
    """Return a tensor of all ones in bits: NaN in every type of float."""
    return torch.full((*shape, dtype.itemsize), 0xFF, dtype=torch.uint8).view(dtype).squeeze(-1)
