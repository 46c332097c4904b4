"""What is measured on a GPU: language models while they decode and prefill, and ResNet-50."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from secateur.backends.candidates import Problem
from secateur.backends.convolution import Convolution

# (out, in): the projections of Llama-2-7B, Llama-3-8B and -70B, ViT-H/14, and one small layer.
SHAPES = {
    "7B qkvo": (4096, 4096),
    "8B gate/up": (14336, 4096),
    "8B down": (4096, 14336),
    "70B down": (8192, 28672),
    "ViT-H fc1": (5120, 1280),
    "small": (2048, 2048),
}
# (channels, height and width, outputs, sides of the kernel): layers of ResNet-50.
CONVS = {
    "3x3 @56": (64, 56, 64, 3),
    "3x3 @28": (128, 28, 128, 3),
    "3x3 @14": (256, 14, 256, 3),
    "1x1 @14": (1024, 14, 256, 1),
}
BATCHES = (32, 1, 128)
FEW = (1, 8, 16, 32, 64)
MANY = (256, 1024, 4096)
BLOCK = (64, 64)
# What answers most comes first: the time may run out.
ORDER = (*list(SHAPES)[:1], *CONVS, *list(SHAPES)[1:])


@dataclass(frozen=True)
class Case:
    """One product, or convolution, to be measured by every candidate of its format.

    Attributes:
        layer: in words.
        format: of the packed weight.
        problem: shape, rows, density, dtype.
    """

    layer: str
    format: str
    problem: Problem

    @property
    def words(self) -> str:
        """One line for tables."""
        p = self.problem
        if p.convolution is not None:
            return f"{self.layer}, {p.convolution.image[0]} images, to {p.out_features} channels"
        return f"{self.layer} [{p.out_features}, {p.in_features}]"


def _cases() -> list[Case]:
    found = []
    for layer, shape in SHAPES.items():
        for rows in (*FEW, *MANY):
            found.append(Case(layer, "semi_frag", Problem(rows, *shape, 0.5)))
            if rows in MANY:
                found.append(Case(layer, "semi", Problem(rows, *shape, 0.5)))
        for density in (0.5, 0.3, 0.2, 0.1):
            for rows in (1, 16, 64):
                found.append(Case(layer, "lb32", Problem(rows, *shape, density)))
        for n in (16, 8, 4):
            for rows in (1, 16):
                found.append(Case(layer, "n32", Problem(rows, *shape, n / 32, pattern=(n, 32))))
        for density in (0.2, 0.1):
            for rows in (1, 64, 1024):
                found.append(Case(layer, "bsr", Problem(rows, *shape, density, pattern=BLOCK)))
        for rows in (1, 256):
            found.append(Case(layer, "nm", Problem(rows, *shape, 1 / 4, pattern=(1, 4))))
    bf16 = Problem(1, 4096, 4096, 0.5, torch.bfloat16, torch.bfloat16)
    found.append(Case("7B qkvo", "semi_frag", bf16))
    found.sort(key=lambda case: case.problem.rows > max(FEW))
    found += [
        Case(layer, "semi_frag", convolution(layer, batch)) for layer in CONVS for batch in BATCHES
    ]
    return sorted(found, key=lambda case: ORDER.index(case.layer))


def convolution(layer: str, batch: int) -> Problem:
    """Return the problem of a layer of `CONVS`."""
    channels, side, out, kernel = CONVS[layer]
    image = (batch, channels, side, side)
    shape = Convolution(image, (kernel, kernel), padding=(kernel // 2,) * 4)
    return Problem.of_convolution(shape, out, 0.5)


CASES = _cases()
