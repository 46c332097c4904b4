"""What every convolving candidate of a GPU is held to: run there by tests/gpu, emulated here."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.backends.candidates import Candidate, Operands, Problem
from secateur.backends.convolution import Convolution
from secateur.backends.gpus import Gpu
from secateur.formats import FORMATS
from tests.support import judge, truth
from tests.support.cuda.convolved import CASES, Case, Tensors, expected, tensors

FORMAT = "semi_frag"
FUSED = {
    "relu and residual": replace(CASES["3x3"], act="relu", residual="last"),
    "residual first": replace(CASES["stride"], act="relu", residual="first"),
    "groups": replace(CASES["groups of whole tiles"], act="relu", residual="first"),
}


@dataclass(frozen=True)
class Made:
    """Whole numbers in a candidate's dtype, and the truth about them."""

    problem: Problem
    operands: Operands
    truth: truth.Truth


def convolution(case: Case) -> Convolution:
    """Return the geometry of a case."""
    top, bottom, left, right = case.padding
    padding = (left, right, top, bottom)
    shape = (case.kernel, case.stride, padding, case.dilation, case.groups)
    return Convolution(case.image, *shape)


def packed(case: Case, given: Tensors) -> tuple[Tensor, Tensor, float]:
    """Return values, index and density of a case's weight."""
    matrix = given.weight.permute(0, 2, 3, 1).reshape(case.out, case.in_features)
    mask, packer = matrix != 0, FORMATS.get(FORMAT)
    made = packer.pack(matrix, mask)
    return made.values, made.index, packer.slots(mask) / mask.numel()


def make(case: Case, device: torch.device, dtype: torch.dtype = torch.float16) -> Made:
    """Return a case of whole numbers, x and residual channels_last."""
    given, conv = tensors(case, dtype, seed=1), convolution(case)
    values, index, density = packed(case, given)
    problem = Problem.of_convolution(
        conv, case.out, density, dtype=dtype, values=dtype, act=case.act, pattern=(2, 4)
    )
    last = torch.channels_last
    residual = None if given.residual is None else given.residual.to(device, memory_format=last)
    operands = Operands(
        x=given.x.to(device, memory_format=last),
        values=values.to(device),
        index=index.to(device),
        bias=given.bias.to(device),
        residual=residual,
        scale=None,
        dense=given.weight.to(device),
        out_features=case.out,
        act=case.act,
        convolution=conv,
        residual_first=case.residual == "first",
    )
    return Made(problem, operands, expected(case, given))


def exact(candidate: Candidate, gpu: Gpu, device: torch.device, dtype: torch.dtype) -> int:
    """Raise unless a candidate is exact wherever it says that it runs; return in how many cases."""
    count = 0
    for case in [*CASES.values(), *(FUSED.values() if candidate.fused else ())]:
        made = make(case, device, dtype)
        if candidate.refuses(made.problem, gpu) is None:
            y = candidate.run(made.operands)
            assert y.is_contiguous(memory_format=torch.channels_last)
            judge.exact_truth(y.cpu(), made.truth)
            count += 1
    return count


def strided(candidate: Candidate, device: torch.device) -> None:
    """Raise unless x may lie in any way, begin anywhere, and stand between NaN."""
    made = make(CASES["several images, pixels off the tile"], device)
    x = made.operands.x
    channels, nan = x.shape[1], float("nan")
    views = [x.contiguous(), x.transpose(2, 3).contiguous().transpose(2, 3)]
    for before in (0, 1, 3, 8):
        wide = F.pad(x.permute(0, 2, 3, 1), (before, 16 - before), value=nan)
        views.append(wide[..., before : before + channels].permute(0, 3, 1, 2))
    rows = F.pad(x, (2, 3, 1, 0), value=nan).contiguous(memory_format=torch.channels_last)
    views += [rows[:, :, 1:, 2:-3], x.repeat_interleave(2, 0)[::2]]
    for view in views:
        judge.exact_truth(candidate.run(replace(made.operands, x=view)).cpu(), made.truth)


def infinite(candidate: Candidate, device: torch.device) -> None:
    """Raise unless inf and NaN of one image stay in that image of y."""
    made = make(CASES["several images, pixels off the tile"], device)
    x = made.operands.x.clone()
    x[1, 5, 2, 2], x[1, 6, 0, 4] = float("inf"), float("nan")
    y = candidate.run(replace(made.operands, x=x)).cpu()
    judge.exact(y[[0, 2]], made.truth.y[[0, 2]].to(y.dtype))
