"""torch's own 2:4 product, CUTLASS underneath: sm_8x alone, the same values and metadata as semi.

It pads the rows of x to 8 (float16, bfloat16) and works in tiles of 128 x 128, so it loses to dense
by ten where there is one row (pytorch#111339).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.backends import roofline
from secateur.backends.candidates import HALVES, Candidate, Operands, Problem, add
from secateur.backends.gpus import Gpu
from secateur.formats import Packed
from secateur.formats.semi import SEMI

ROWS = 8  # of x, that it takes whole multiples of


def limits(problem: Problem, gpu: Gpu) -> str | None:
    """Return why it cannot run `problem`, or None: it does not pad the weight."""
    rows, columns = SEMI.padded(problem.out_features, problem.in_features)
    if (rows, columns) != (problem.out_features, problem.in_features):
        return (
            f"takes out_features divisible by {SEMI.row_tile} and in_features by "
            f"{SEMI.column_tile}, got {problem.out_features} and {problem.in_features}"
        )
    return None


def run(call: Operands) -> Tensor:
    """Return x Wᵀ + bias."""
    out, columns = call.out_features, call.x.shape[1]
    packed = Packed("semi", call.values, call.index, columns, out)
    values, meta = SEMI.to_torch(packed)
    rows = len(call.x)
    x = F.pad(call.x, (0, 0, 0, -rows % ROWS)).contiguous()
    bias = None if call.bias is None else call.bias.to(call.x.dtype)
    y = torch._sparse_semi_structured_linear(x, values, meta, bias=bias)
    return y[:rows]


add(
    Candidate(
        "torch_semi",
        "semi",
        HALVES,
        predict=roofline.torch_semi,
        run=run,
        capability=(80, 89),
        limits=limits,
        fused=False,
    )
)
