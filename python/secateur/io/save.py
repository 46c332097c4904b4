"""Writing a model to one safetensors file, sparse weights in canonical form."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from secateur.formats import Header
from secateur.io.layout import FileSpec, LayerSpec
from secateur.nn.attention import SparseMultiheadAttention
from secateur.nn.sparse_conv2d import SparseConv2d
from secateur.nn.sparse_layer import SparseLayer
from secateur.planning import record


def save(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write the whole model to one file.

    Sparse layers go as mask bits and kept values, all else as it is, tensors that share memory
    once. The file appears at once and whole: it is written beside its place first.

    Args:
        model: usually from `convert`; any module will do.
        path: of the file; conventionally "*.safetensors".

    Raises:
        ImportError: if safetensors is not installed.
        TypeError: if `model` is no module.
        ValueError: if a tensor has no values (meta device), or a module keeps extra state.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: wanted a torch.nn.Module, got {type(model).__name__}")
    packer = _safetensors()
    tensors, aliases = _gather(model)
    found = model.__dict__.get(record.ATTRIBUTE)
    spec = FileSpec(_layers(model), aliases, None if found is None else found.to_json())
    target = Path(path)
    handle, beside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    temporary = Path(beside)
    try:
        packer.save_file(tensors, temporary, metadata=spec.to_metadata())
        _adopt_mode(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _safetensors() -> ModuleType:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            "saving and loading need safetensors; install it with: pip install 'secateur[io]'"
        ) from error
    return safetensors.torch


def _adopt_mode(path: Path) -> None:
    """Give the file the mode that files of this process get; mkstemp makes them private."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def _gather(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors by name, each once, and the further names of those that have several."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[object, str] = {}
    # Identities are addresses: what has been seen must live until all have been.
    alive: list[Tensor] = []
    modules: dict[int, str] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        again = modules.setdefault(id(module), prefix)
        for name, identity, tensor in _own(module):
            full = f"{prefix}.{name}" if prefix else name
            alive.append(tensor)
            if again != prefix:
                start = f"{again}." if again else ""
                aliases[full] = aliases.get(start + name, start + name)
            elif identity in first:
                aliases[full] = first[identity]
            else:
                first[identity] = full
                tensors[full] = _storable(full, tensor)
    return tensors, aliases


def _own(module: nn.Module) -> Iterable[tuple[str, object, Tensor]]:
    """Yield (name, identity, tensor) of what the state_dict of `module` itself holds."""
    state: dict[str, Tensor] = {}
    module._save_to_state_dict(state, "", True)
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or name.endswith("_extra_state"):
            raise ValueError(
                f"model: {type(module).__name__} keeps {name!r} beside its tensors; a file without "
                "pickle cannot hold it"
            )
        yield name, _identity(tensor), tensor.detach()


def _identity(tensor: Tensor) -> object:
    """Something that two tensors have in common only if they are the same view of one memory."""
    if not tensor.numel() or tensor.is_meta:
        return id(tensor), id(type(tensor))
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device


def _storable(name: str, tensor: Tensor) -> Tensor:
    if tensor.is_meta:
        raise ValueError(f"model: {name!r} is on the meta device and has no values to save")
    if tensor.layout != torch.strided:
        raise ValueError(f"model: {name!r} is stored as {tensor.layout}; make it dense first")
    tensor = tensor.cpu().contiguous()
    # safetensors refuses tensors that share memory, also where the parts are different.
    whole = tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if whole else tensor.clone()


def _layers(model: nn.Module) -> dict[str, LayerSpec]:
    specs = {}
    for name, module in model.named_modules():
        if isinstance(module, SparseLayer):
            header = Header.read(module.index)
            rows, columns = module.matrix_shape
            specs[name] = LayerSpec(
                "conv2d" if isinstance(module, SparseConv2d) else "linear",
                columns,
                rows,
                module.bias is not None,
                module.format,
                module.dense is not None,
                header.verdicts,
                header.machine,
            )
        elif isinstance(module, SparseMultiheadAttention):
            size = module.embed_dim
            bias = module.in_proj_bias is not None
            specs[name] = LayerSpec("attention", size, size, bias, parts=module.shares)
    return specs
