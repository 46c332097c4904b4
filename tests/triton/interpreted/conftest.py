"""Two things of the GPU that triton's interpreter does not do: bfloat16 is a type there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from triton import language as tl
from triton.runtime import interpreter

Bits = npt.NDArray[Any]
_convert = interpreter._convert_float
_dot = interpreter.InterpreterBuilder.create_dot


def _rounded(data: Bits, source: Any, target: Any, mode: Any) -> Bits:
    """Convert to bfloat16 to nearest even, as the hardware does; the interpreter cuts bits off."""
    if source != tl.float32 or target != tl.bfloat16:
        return _convert(data, source, target, mode)
    numbers = torch.from_numpy(np.ascontiguousarray(data).view(np.float32).copy())
    return numbers.bfloat16().view(torch.int16).numpy().view(np.uint16)


def _wide(handle: Any) -> Any:
    if handle.dtype != tl.bfloat16:
        return handle
    bits = handle.data.astype(np.uint32) << 16
    return interpreter.TensorHandle(bits.view(np.float32), tl.float32)


def _multiplied(builder: Any, a: Any, b: Any, *rest: Any) -> Any:
    """Multiply bfloat16 as numbers; the interpreter multiplies their bits."""
    return _dot(builder, _wide(a), _wide(b), *rest)


interpreter._convert_float = _rounded
interpreter.InterpreterBuilder.create_dot = _multiplied
