"""The ops cuda_nm_pack and cuda_nm_unpack on the emulated GPU, for tensors of the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from secateur.backends import gpus
from secateur.backends.cuda import _library, _packing
from tests.support.cuda import structs
from tests.support.cuda.emulator import Emulator, poisoned
from tests.support.cuda.pairs import TYPES


class PackingOps:
    """What csrc/bind/cuda_nm_pack.cpp and cuda_nm_unpack.cpp do, line by line.

    Attributes:
        ran: names of the kernels that ran, in order.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.ran: list[str] = []

    def pack(self, kernels, weight, mask, values, index, faults, *rest):  # type: ignore[no-untyped-def]
        """Write values, metadata and faults."""
        meta_offset, padded_out, padded_in, prune = rest
        slots = padded_out * padded_in // 2
        for matrix in (weight, *([] if mask is None else [mask])):
            assert matrix.shape[1] <= 1 or matrix.stride(1) == 1
            assert matrix.shape[0] <= 1 or matrix.stride(0) >= matrix.shape[1]
        fields = {
            "weight": weight,
            "mask": mask,
            "values": values[:slots],
            "meta": index[meta_offset : meta_offset + slots // 4],
            "faults": faults,
            "out_features": len(weight),
            "in_features": weight.shape[1],
            "padded_out": padded_out,
            "padded_in": padded_in,
            "weight_stride": weight.stride(0),
            "mask_stride": 0 if mask is None else mask.stride(0),
            "prune": int(prune),
        }
        self._launch(kernels, fields, weight.dtype)

    def unpack(self, kernels, values, index, faults, meta_offset, *sides):  # type: ignore[no-untyped-def]
        """Return the dense weight."""
        out_features, in_features, padded_out, padded_in = sides
        slots = padded_out * padded_in // 2
        weight = poisoned(out_features, in_features, dtype=values.dtype).view(sides[:2])
        fields = {
            "values": values[:slots],
            "meta": index[meta_offset : meta_offset + slots // 4],
            "weight": weight,
            "faults": faults,
            "out_features": out_features,
            "in_features": in_features,
            "padded_out": padded_out,
            "padded_in": padded_in,
            "weight_stride": in_features,
        }
        self._launch(kernels, fields, values.dtype)
        return weight

    def _launch(
        self, kernels: str, fields: dict[str, Tensor | int | None], dtype: torch.dtype
    ) -> None:
        name = next(word for word, each in TYPES.items() if each == dtype)
        fields["type"] = structs.enum("Type")[name]
        self.emulator.launch(kernels, fields, seed=1).clean()
        self.ran.append(kernels)


@contextmanager
def on_cpu(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackingOps]:
    """Pretend inside that tensors of the CPU lie on a GPU, as far as 2:4 is packed and unpacked."""
    found = PackingOps(emulator)
    table = _library.parsed(emulator.c.secateur_cuda_kernels().decode())
    monkeypatch.setattr(_library, "kernels", lambda: table)
    monkeypatch.setattr(gpus, "of", lambda _: gpus.KNOWN[0])
    _library.of_op.cache_clear()
    ops = torch.library.Library("secateur", "IMPL")
    ops.impl("cuda_nm_pack", found.pack, "CPU")
    ops.impl("cuda_nm_unpack", found.unpack, "CPU")
    ops.impl("pairs_pack", _packing.pack, "CPU")
    ops.impl("pairs_unpack", _packing.unpack, "CPU")
    try:
        yield found
    finally:
        ops._destroy()
        _library.of_op.cache_clear()
