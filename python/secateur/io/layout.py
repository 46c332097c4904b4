"""What a saved file says of itself: its version, its sparse layers, its shared tensors.

A file is a safetensors file. Its tensors are the model's state_dict with canonical sparse weights;
its metadata is JSON under one key. Nothing in it is executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

KEY = "secateur"
VERSION = 1
KINDS = ("linear", "conv2d", "attention")


@dataclass(frozen=True)
class LayerSpec:
    """One module that is sparse in the file.

    Attributes:
        kind: "linear"; "conv2d", whose geometry is the skeleton's; or "attention": a
            SparseMultiheadAttention, whose own sparse projections have specs of their own.
        in_features: columns of the weight as a matrix; embed_dim of attention.
        out_features: likewise.
        bias: whether there is one.
        format: packed format that was in use; None for attention.
        keeps_dense: whether a dense copy was kept beside it.
        verdicts: two bits for each row-count bucket, as in a packed header.
        machine: stamp of the machine that gave the verdicts; 0: none.
        parts: for attention, how many of query, key, value each input projection gives.
    """

    kind: str
    in_features: int
    out_features: int
    bias: bool
    format: str | None = None
    keeps_dense: bool = False
    verdicts: int = 0
    machine: int = 0
    parts: tuple[int, ...] = ()


@dataclass(frozen=True)
class FileSpec:
    """All that the metadata says.

    Attributes:
        layers: module name to spec.
        aliases: tensor name to the name it is stored under, for tensors that share memory.
        record: what `convert` decided, as plain data, or None.
    """

    layers: Mapping[str, LayerSpec]
    aliases: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, Any] | None = None

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata of a safetensors file."""
        data = {"version": VERSION, **asdict(self)}
        # One key: safetensors writes several in an order that changes from file to file.
        return {KEY: json.dumps(data, separators=(",", ":"))}


def read(metadata: Mapping[str, str] | None) -> FileSpec:
    """Return what the metadata of a file says.

    Raises:
        ValueError: if it is not of a file that `save` of this version wrote.
    """
    if not metadata or KEY not in metadata:
        raise ValueError("it was not written by secateur.save (its metadata does not say so)")
    try:
        data = json.loads(metadata[KEY])
        version = data["version"]
        if version != VERSION:
            raise ValueError(f"it has version {version}; this package reads version {VERSION}")
        layers = {str(name): _layer(entry) for name, entry in data["layers"].items()}
        aliases = {str(k): str(v) for k, v in data["aliases"].items()}
        return FileSpec(layers, aliases, data["record"])
    except (json.JSONDecodeError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its metadata is damaged ({error!r})") from error


def _layer(entry: Mapping[str, Any]) -> LayerSpec:
    spec = LayerSpec(**{**entry, "parts": tuple(int(n) for n in entry["parts"])})
    numbers = (spec.in_features, spec.out_features, spec.verdicts, spec.machine)
    if spec.kind not in KINDS:
        raise ValueError(f"its metadata names an unknown kind of layer {spec.kind!r}")
    if not all(type(n) is int and 0 <= n < 2**32 for n in numbers):
        raise ValueError(f"its metadata has numbers out of range: {numbers}")
    if type(spec.bias) is not bool or type(spec.keeps_dense) is not bool:
        raise ValueError("its metadata has a flag that is neither true nor false")
    return spec
