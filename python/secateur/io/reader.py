"""One open file: its metadata, and its tensors by name, each counted when it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from secateur.io import layout
from secateur.nn import canonical


class Reader:
    """Hands out the tensors of a file.

    Args:
        file: an open safetensors file.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.spec = layout.read(file.metadata())
        self._names = set(file.keys())
        self._used: set[str] = set()
        self.missing: list[str] = []
        lost = set(self.spec.aliases.values()) - self._names
        if lost:
            raise ValueError(f"its metadata refers to tensors it does not hold: {_some(lost)}")

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Reader]:
        """Open the file at `path`.

        Raises:
            ImportError: if safetensors is not installed.
            ValueError: if it is not a whole safetensors file that `save` wrote.
        """
        try:
            from safetensors import SafetensorError, safe_open
        except ImportError as error:
            raise ImportError(
                "saving and loading need safetensors; install it: pip install 'secateur[io]'"
            ) from error
        try:
            with safe_open(path, "pt", device="cpu") as file:
                yield cls(file)
        except SafetensorError as error:
            raise ValueError(f"it is no whole safetensors file ({error})") from error

    def take(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor | None:
        """Return a copy of a tensor, or None (and note the name) if the file has none.

        Raises:
            ValueError: if its shape is not `shape`.
        """
        stored = self.spec.aliases.get(name, name)
        if stored not in self._names:
            self.missing.append(name)
            return None
        self._used |= {stored}
        found = tuple(self._file.get_slice(stored).get_shape())
        if shape is not None and found != shape:
            raise ValueError(
                f"{name!r} is {list(found)} in the file and {list(shape)} in the skeleton; build "
                "the skeleton with the same sizes"
            )
        # The file is mapped: a copy, so that the tensors are independent of it and of each other.
        tensor: Tensor = self._file.get_tensor(stored).clone()
        return tensor

    def take_sparse(
        self, name: str, shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor | None] | None:
        """Return weight and mask, each of `shape` (out, in), and scale of the sparse layer `name`.

        Raises:
            ValueError: if mask and values do not describe a weight of that shape.
        """
        prefix = f"{name}." if name else ""
        version = self.take(prefix + "version", ())
        bits = self.take(prefix + "mask", ((shape[0] * shape[1] + 7) // 8,))
        values = self.take(prefix + "values")
        if version is None or bits is None or values is None:
            return None
        quantized = values.dtype == torch.int8
        scale = self.take(prefix + "scale", shape[:1]) if quantized else None
        if quantized and scale is None:
            return None
        if int(version) != canonical.VERSION:
            raise ValueError(
                f"{name!r} has version {int(version)} of the sparse form; this package reads "
                f"version {canonical.VERSION}"
            )
        try:
            return *canonical.to_dense(canonical.Canonical(bits, values), shape, scale), scale
        except ValueError as error:
            raise ValueError(f"{name!r}: {error}") from error

    def finish(self) -> None:
        """Raise ValueError if a tensor was missing, or is left over."""
        left = self._names - self._used
        faults = []
        if self.missing:
            faults.append(f"it lacks {_some(self.missing)}, which the skeleton has")
        if left:
            faults.append(f"it holds {_some(left)}, which the skeleton has not")
        if faults:
            raise ValueError(
                "; ".join(faults) + ". Build the skeleton like the model that was saved"
            )


def _some(names: set[str] | list[str], most: int = 6) -> str:
    shown = ", ".join(repr(name) for name in sorted(names)[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"
