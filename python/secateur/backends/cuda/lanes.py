"""Unstructured weights as lane bitmaps, and N:32: load sparse, compute dense, few rows of x."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from secateur.backends import roofline
from secateur.backends.beside import beside
from secateur.backends.candidates import HALVES, Candidate, Operands, add
from secateur.backends.cuda import _library
from secateur.backends.cuda._semi import aligned, limits, missing

MOST_ROWS = 64  # of x: above, the dense product's tensor cores are no longer waiting for memory

_SCHEMA = (
    "(str kernels, Tensor x, Tensor values, Tensor index, int n, Tensor? bias, Tensor? residual, "
    "int out_features, str act) -> Tensor"
)
_library._DEFINED.define("cuda_lane_linear" + _SCHEMA)


def _run(layout: str, call: Operands) -> Tensor:
    rows, columns = -(-call.out_features // 16) * 16, -(-call.x.shape[1] // 128) * 128
    # Of n32 the length of the values says N; lb32 has its own table.
    n = (call.values.numel() * 32 // (rows * columns)) // 2 * 2
    y: Tensor = torch.ops.secateur.cuda_lane_linear(
        _library.named(layout, call.x.device),
        aligned(call.x),
        call.values,
        call.index,
        n,
        None if call.bias is None else beside(call.bias, Tensor.float),
        None if call.residual is None else call.residual.contiguous(),
        call.out_features,
        call.act,
    )
    return y


for _name, _predict in (("lb32", roofline.lane_bitmap), ("n32", roofline.balanced)):
    add(
        Candidate(
            f"{_name}_decode",
            _name,
            HALVES,
            predict=_predict,
            run=functools.partial(_run, _name),
            rows=(0, MOST_ROWS),
            limits=limits,
            missing=missing(_name),
        )
    )
