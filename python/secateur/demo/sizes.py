"""Bytes of a model in memory and on disk."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from torch import nn


@dataclass(frozen=True)
class Sizes:
    """Bytes of the whole model, word embedding included.

    Attributes:
        memory: parameters and buffers, kernels' indices and kept dense copies among them.
        encoder: the part of `memory` in the encoder's layers.
        file: the safetensors file.
    """

    memory: int
    encoder: int
    file: int


def in_memory(module: nn.Module) -> int:
    """Return the bytes of the module's parameters and buffers, shared ones once."""
    held = {t.data_ptr(): t.nbytes for t in chain(module.parameters(), module.buffers())}
    return sum(held.values())


def save_dense(model: nn.Module, path: Path) -> None:
    """Write a dense model as plain float32 safetensors."""
    from safetensors.torch import save_file

    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, str(path))


def sizes(model: nn.Module, path: Path) -> Sizes:
    """Return the sizes of a model that is saved at `path`."""
    return Sizes(in_memory(model), in_memory(model.get_submodule("layers")), path.stat().st_size)
