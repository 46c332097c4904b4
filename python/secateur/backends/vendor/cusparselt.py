"""2:4 by cuSPARSELt, through torch: in a buffer of its own, whose layout only it knows.

The buffer is made from the packed weight at the first call and kept beside its values, so a layer
that takes this candidate holds its weight twice; `beside.held` counts it. What algorithm runs is
searched once for each shape, and its answer is compared with the dense product once: peers have met
wrong ones.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.backends import roofline
from secateur.backends.beside import beside
from secateur.backends.candidates import HALVES, Candidate, Operands, Problem, add
from secateur.backends.gpus import Gpu
from secateur.formats import FORMATS

_TILE = 32  # of the weight's sides
_ROWS = 8  # of x, that it takes whole multiples of


def missing() -> str:
    """Return why torch has no cuSPARSELt here, or ""."""
    if not torch.backends.cusparselt.is_available():
        return "this build of torch has no cuSPARSELt, or it does not load"
    return ""


def limits(problem: Problem, gpu: Gpu) -> str | None:
    """Return why it cannot run `problem`, or None."""
    sides = (problem.out_features, problem.in_features)
    if any(side % _TILE for side in sides):
        return (
            f"takes out_features and in_features divisible by {_TILE}, got {sides[0]}, {sides[1]}"
        )
    return None


def run(format: str, call: Operands) -> Tensor:
    """Return x Wᵀ + bias."""
    compressed = beside(call.values, functools.partial(_compressed, format, call.index))
    rows = len(call.x)
    x = F.pad(call.x, (0, 0, 0, -rows % _ROWS)).contiguous()
    bias = None if call.bias is None else call.bias.to(call.x.dtype)
    key = (call.out_features, tuple(x.shape), x.dtype, x.device, bias is None)
    if key not in _ALGORITHMS:
        _ALGORITHMS[key] = _searched(compressed, x, bias, call, format)
    y = torch._cslt_sparse_mm(
        compressed, x.t(), bias=bias, transpose_result=True, alg_id=_ALGORITHMS[key]
    )
    return y[:rows]


_ALGORITHMS: dict[object, int] = {}


def _compressed(format: str, index: Tensor, values: Tensor) -> Tensor:
    return torch._cslt_compress(FORMATS.get(format).unpack(values, index))


def _searched(
    compressed: Tensor, x: Tensor, bias: Tensor | None, call: Operands, format: str
) -> int:
    """Return the fastest algorithm, once its answer has been held against the dense one.

    Raises:
        RuntimeError: if it is wrong.
    """
    found = int(torch._cslt_sparse_mm_search(compressed, x.t(), bias=bias, transpose_result=True))
    probe = torch.ones_like(x)
    y = torch._cslt_sparse_mm(
        compressed, probe.t(), bias=bias, transpose_result=True, alg_id=found
    ).float()
    dense = FORMATS.get(format).unpack(call.values.float(), call.index)
    wanted = F.linear(probe.float(), dense, None if bias is None else bias.float())
    unit = torch.finfo(x.dtype).eps
    bound = (x.shape[1] + 2) * torch.finfo(torch.float32).eps * dense.abs().sum(1)
    bound = bound + unit * wanted.abs() + torch.finfo(x.dtype).smallest_normal
    if bool(((y - wanted).abs() > bound).any()):
        raise RuntimeError(
            f"cuSPARSELt's algorithm {found} gives a wrong product for a weight "
            f"[{call.out_features}, {x.shape[1]}] and {len(x)} rows; it is not used"
        )
    return found


for _format in ("semi", "semi_frag"):
    add(
        Candidate(
            f"cusparselt_{_format}",
            _format,
            HALVES,
            predict=roofline.cusparselt,
            run=functools.partial(run, _format),
            limits=limits,
            missing=missing,
            fused=False,
        )
    )
