"""Small models on integer data for the tests of this room, and what to ask of converted ones."""

from __future__ import annotations

from torch import Tensor, nn

import secateur as sc
from tests.support.data import generator, integers, random_mask

WIDTH = 64


def layer(
    out: int = WIDTH, in_: int = WIDTH, density: float = 0.2, mask: Tensor | None = None
) -> nn.Linear:
    gen = generator(out + in_)
    made = nn.Linear(in_, out)
    mask = random_mask(out, in_, density, gen) if mask is None else mask
    made.weight = nn.Parameter(integers((out, in_), gen) * mask)
    made.bias = nn.Parameter(integers((out,), gen))
    return made


def mlp() -> nn.Sequential:
    return nn.Sequential(layer(), nn.ReLU(), layer(32, 64, 1.0), layer(48, 32))


def x_of(*shape: int) -> Tensor:
    return integers(shape, generator(1))


def kinds(model: nn.Module) -> list[str]:
    return [name for name, m in model.named_modules() if isinstance(m, sc.SparseLinear)]


def reason(model: nn.Module, name: str) -> str:
    (found,) = [note for note in sc.explain(model).layers if note.name == name]
    return found.reason
