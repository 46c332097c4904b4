"""FBGEMM's sparse-dense product, which torch's x86 wheels carry and no function of torch calls."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import PEERS, Absent, bind_copies
from benchmarks.subject import Binder, Call

SYMBOL = "_ZN6fbgemm13SparseDenseMMEiiPKiS1_PKfS3_iPfib"
"""fbgemm::SparseDenseMM(M, N, row_ptr, col_idx, values, B, ldb, C, ldc, accumulate)."""


@PEERS.register("fbgemm")
def fbgemm(weight: Tensor, cold: bool) -> Sequence[Binder]:
    """C[out, rows] = W x.T on one thread; transposing x is timed, y stays [out, rows]."""
    multiply = _function()
    out_features = weight.shape[0]

    def make(rows: Tensor, columns: Tensor, values: Tensor) -> Binder:
        def bind(x: Tensor) -> Call:
            y = torch.empty(out_features, len(x))
            n = len(x)

            def call() -> Tensor:
                b = x.t().contiguous()
                sparse = (rows.data_ptr(), columns.data_ptr(), values.data_ptr())
                multiply(out_features, n, *sparse, b.data_ptr(), n, y.data_ptr(), n, False)
                return y

            return call

        return bind

    row, column = weight.nonzero(as_tuple=True)
    starts = torch.zeros(out_features + 1, dtype=torch.int32)
    starts[1:] = torch.bincount(row, minlength=out_features).cumsum(0)
    return bind_copies((starts, column.int(), weight[row, column]), cold, make)


def _function() -> Any:
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        function = getattr(ctypes.CDLL(str(library)), SYMBOL)
    except (OSError, AttributeError) as error:
        raise Absent(f"this torch does not export {SYMBOL}") from error
    pointer = ctypes.c_void_p
    function.restype = None
    function.argtypes = [
        *(ctypes.c_int, ctypes.c_int, pointer, pointer, pointer),
        *(pointer, ctypes.c_int, pointer, ctypes.c_int, ctypes.c_bool),
    ]
    return function
