"""Reading a model back from one file, onto a skeleton of its dense architecture."""

from __future__ import annotations

import os
from pathlib import Path

from torch import nn

from secateur.io.assemble import Assembly
from secateur.io.reader import Reader
from secateur.nn.convert import copied, settle
from secateur.planning import record


def load(skeleton: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Return the model that `save` wrote, built like `skeleton`.

    Sparse weights are packed for this machine. Verdicts (which row counts run dense) are taken
    over on a machine like the one that measured; elsewhere the cost model gives them, and
    converting again measures them.

    Args:
        skeleton: a model of the same architecture, dense or converted, with any weights, also on
            the meta device. It is left as it is; the result shares nothing with it.
        path: of the file.

    Returns:
        A copy of the skeleton's structure with the file's tensors, in the file's dtypes, on the
        skeleton's devices (CPU for the meta device).

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if safetensors is not installed.
        TypeError: if `skeleton` is no module or cannot be copied.
        ValueError: if the file is cut short, damaged, not written by `save`, or of another model.
    """
    if not isinstance(skeleton, nn.Module):
        raise TypeError(f"skeleton: wanted a torch.nn.Module, got {type(skeleton).__name__}")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: no file at {str(path)!r}; sc.save writes one")
    try:
        with Reader.open(path) as reader:
            assembly = Assembly(skeleton, reader)
            memo = assembly.memo()
        found = reader.spec.record
        noted = None if found is None else record.Record.from_json(found)
    except ValueError as error:
        raise ValueError(f"path: cannot load {str(path)!r}: {error}") from error
    model = copied(skeleton, memo)
    settle(model)
    if noted is not None:
        record.attach(model, noted)
    return model
