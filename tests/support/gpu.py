"""What every candidate of a GPU is held to: run there by tests/gpu, emulated by tests/backends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.backends.candidates import DENSE, Candidate, Operands, Problem
from secateur.backends.gpus import Gpu
from secateur.formats import FORMATS, Header
from tests.support import data, judge, truth

ROWS = (1, 2, 7, 8, 9, 16, 17, 31, 32, 33, 64, 65)
SHAPES = ((64, 64), (128, 256), (33, 72), (257, 520), (16, 8), (192, 1024))


@dataclass(frozen=True)
class Case:
    """Whole numbers in a candidate's dtype, and the truth about them."""

    problem: Problem
    operands: Operands
    weight: Tensor
    mask: Tensor

    def truth(self) -> truth.Truth:
        """Return the answer, on the CPU."""
        call = self.operands
        some = [None if t is None else t.cpu() for t in (call.bias, call.residual)]
        return truth.linear(call.x.cpu(), self.weight, self.mask, *some, call.act)


def case(  # noqa: PLR0913  what a case is made of
    format: str,
    shape: tuple[int, int],
    rows: int,
    device: torch.device,
    dtype: torch.dtype = torch.float16,
    *,
    act: str = "none",
    residual: bool = False,
) -> Case:
    """Return a case of one format; a dense candidate gets the dense copy of a 2:4 weight."""
    gen = data.generator()
    name = "semi" if format == DENSE else format
    mask = data.mask_for(name, *shape, gen)
    weight = data.integers(shape, gen, dtype)
    packed = FORMATS.get(name).pack(weight.to(device), mask.to(device))
    header = Header.read(packed.index)
    density = header.nnz / (shape[0] * shape[1])
    problem = Problem(rows, *shape, density, dtype, dtype, act, residual, (header.n, header.m))
    operands = Operands(
        x=data.integers((rows, shape[1]), gen, dtype).to(device),
        values=packed.values,
        index=packed.index,
        bias=data.integers((shape[0],), gen, dtype).to(device),
        residual=data.integers((rows, shape[0]), gen, dtype).to(device) if residual else None,
        scale=None,
        dense=weight.masked_fill(~mask, 0).to(device),
        out_features=shape[0],
        act=act,
    )
    return Case(problem, operands, weight, mask)


def exact(candidate: Candidate, gpu: Gpu, device: torch.device, dtype: torch.dtype) -> int:
    """Raise unless a candidate is exact wherever it says that it runs; return in how many cases."""
    count = 0
    for shape in SHAPES:
        for rows in ROWS:
            fused = candidate.fused and rows % 2 == 1
            made = case(
                candidate.format,
                shape,
                rows,
                device,
                dtype,
                act="relu" if fused else "none",
                residual=fused,
            )
            if candidate.refuses(made.problem, gpu) is None:
                judge.exact_truth(candidate.run(made.operands).cpu(), made.truth())
                count += 1
    return count


def strided(candidate: Candidate, gpu: Gpu, device: torch.device) -> None:
    """Raise unless rows of x may lie apart, begin anywhere, and stand between NaN."""
    for left in (0, 1, 3, 8):
        made = case(candidate.format, (64, 64), 5, device)
        if candidate.refuses(made.problem, gpu) is not None:
            continue
        wide = torch.full((5, 96), float("nan"), dtype=torch.float16, device=device)
        wide[:, left : left + 64] = made.operands.x
        seen = Operands(**{**made.operands.__dict__, "x": wide[:, left : left + 64]})
        judge.exact_truth(candidate.run(seen).cpu(), made.truth())


def infinite(candidate: Candidate, gpu: Gpu, device: torch.device) -> None:
    """Raise unless inf and NaN in one row of x stay in that row of y."""
    made = case(candidate.format, (64, 64), 9, device)
    if candidate.refuses(made.problem, gpu) is not None:
        return
    x = made.operands.x.clone()
    x[3, 5], x[4, 6] = float("inf"), float("nan")
    y = candidate.run(Operands(**{**made.operands.__dict__, "x": x})).cpu()
    wanted = made.truth().y
    rows = [0, 1, 2, 5, 6, 7, 8]
    judge.exact(y[rows], wanted[rows].to(y.dtype))
