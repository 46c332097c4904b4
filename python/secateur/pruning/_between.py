"""Scores against a bracket by csrc/cpu/between.h, where that is compiled and they are float32."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from secateur import _extension


def between(scores: Tensor, low: float, high: float, above: Tensor) -> Tensor | None:
    """Mark what is above `high`; return where scores lie between, ends included.

    Args:
        scores: flat, floating, without NaN; fewer than 2^31.
        low: least score inside; representable as float32, as `high` is.
        high: greatest score inside.
        above: bool, as long, contiguous; it is written.

    Returns:
        int64 indices, ascending; None, and nothing written, where there is no kernel.
    """
    pointer, number = ctypes.c_void_p, ctypes.c_float
    arguments = (pointer, ctypes.c_int64, number, number, pointer, pointer)
    kernel = _extension.function("secateur_mark_between", ctypes.c_int64, *arguments)
    if kernel is None or scores.device.type != "cpu" or scores.dtype != torch.float32:
        return None
    scores = scores.detach().contiguous()
    places = torch.empty(len(scores), dtype=torch.int32)
    found = kernel(scores.data_ptr(), len(scores), low, high, above.data_ptr(), places.data_ptr())
    return places[:found].long()
