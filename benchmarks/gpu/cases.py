"""What is measured on a GPU: shapes of language models, at row counts of decoding and prefill."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from secateur.backends.candidates import Problem

# (out, in): the projections of Llama-2-7B, Llama-3-8B and -70B, ViT-H/14, and one small layer.
SHAPES = {
    "7B qkvo": (4096, 4096),
    "8B gate/up": (14336, 4096),
    "8B down": (4096, 14336),
    "70B down": (8192, 28672),
    "ViT-H fc1": (5120, 1280),
    "small": (2048, 2048),
}
FEW = (1, 8, 16, 32, 64)
MANY = (256, 1024, 4096)
BLOCK = (64, 64)


@dataclass(frozen=True)
class Case:
    """One product to be measured by every candidate of its format.

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
    # What answers most comes first: the time may run out.
    return sorted(found, key=lambda case: (list(SHAPES).index(case.layer), case.problem.rows > 64))


CASES = _cases()
