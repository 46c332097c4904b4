"""From plain data to a smaller model: which slices are kept, and what the attributes become.

No trace is needed, so a fresh model of the old sizes can be cut to match a saved state_dict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secateur.pruning.structure.attention import HeadAttention

Kept = dict[str, Any]
"""Plain data, fit for JSON:

    "tensors": by name of a parameter or buffer, for each dimension the positions kept, or None
        for all of them.
    "sizes": by the same names, the sizes before.
    "attributes": by name of a module, the new values of its attributes.
    "scales": by name of a parameter, what it is multiplied by.
    "heads": the names of the nn.MultiheadAttention that became HeadAttention.
"""

_WIDTHS: tuple[tuple[type[nn.Module], dict[str, int]], ...] = (
    (nn.Linear, {"out_features": 0, "in_features": 1}),
    (nn.Embedding, {"num_embeddings": 0, "embedding_dim": 1}),
    (nn.modules.batchnorm._NormBase, {"num_features": 0}),
    (nn.GroupNorm, {"num_channels": 0}),
    (nn.PReLU, {"num_parameters": 0}),
)


def apply(model: nn.Module, kept: Mapping[str, Any]) -> nn.Module:
    """Cut a model to the slices that are kept, in place; return it.

    >>> from secateur.pruning import structure
    >>> def make_model() -> nn.Module:
    ...     return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    >>> small = structure.shrink(make_model(), sparsity=0.5, example_inputs=torch.ones(1, 8))
    >>> fresh = structure.apply(make_model(), structure.report(small).kept)
    >>> fresh.load_state_dict(small.state_dict())
    <All keys matched successfully>

    Args:
        model: of the sizes that the model had before it was shrunk.
        kept: the report's `kept`, also after a round trip through JSON.

    Raises:
        ValueError: if a tensor is missing or has other sizes; the model is then as it was.
    """
    tensors = dict(_tensors(model))
    modules = dict(model.named_modules(remove_duplicate=False))
    _check(tensors, modules, kept)
    for name in kept["heads"]:
        modules[name].__class__ = HeadAttention
        modules[name]._qkv_same_embed_dim = False
    cut: dict[int, Tensor] = {}
    for name, dims in kept["tensors"].items():
        old = tensors[name]
        cut[id(old)] = _cut(old, dims, kept["scales"].get(name, 1.0))
    for name, values in kept["attributes"].items():
        for word, value in values.items():
            setattr(modules[name], word, tuple(value) if isinstance(value, list) else value)
    for module in modules.values():
        changed = False
        for held in (module._parameters, module._buffers):
            for word, tensor in held.items():
                if tensor is not None and id(tensor) in cut:
                    held[word] = cut[id(tensor)]
                    changed = True
        if changed:
            _set_widths(module)
    return model


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _check(
    tensors: Mapping[str, Tensor], modules: Mapping[str, nn.Module], kept: Mapping[str, Any]
) -> None:
    for name, sizes in kept["sizes"].items():
        came = list(tensors[name].shape) if name in tensors else "no such tensor"
        if came != list(sizes):
            raise ValueError(
                f"model: wanted {name!r} of sizes {list(sizes)}, as before it was shrunk, got "
                f"{came}; give a model of the old sizes"
            )
    for name in (*kept["heads"], *kept["attributes"]):
        if name not in modules:
            raise ValueError(f"model: wanted a module {name!r}, as in the one shrunk; it has none")
    for name in kept["heads"]:
        if not isinstance(modules[name], nn.MultiheadAttention):
            raise ValueError(f"model: wanted an nn.MultiheadAttention as {name!r}")


@torch.no_grad()
def _cut(old: Tensor, dims: list[list[int] | None], scale: float) -> Tensor:
    new = old.detach()
    for dim, places in enumerate(dims):
        if places is not None:
            new = new.index_select(dim, torch.tensor(places, device=old.device))
    if scale != 1.0:
        new = new * scale
    if new.ndim == 4 and old.is_contiguous(memory_format=torch.channels_last):
        new = new.contiguous(memory_format=torch.channels_last)
    if isinstance(old, nn.Parameter):
        return nn.Parameter(new.clone() if new is old else new, requires_grad=old.requires_grad)
    return new


def _set_widths(module: Any) -> None:
    """Bring the attributes that say how wide a layer is in line with its weights."""
    if isinstance(module, nn.MultiheadAttention):
        _set_attention_widths(module)
        return
    weight = module._parameters.get("weight")
    if weight is None:
        return
    if isinstance(module, nn.modules.conv._ConvNd):
        first, second = weight.shape[0], weight.shape[1] * module.groups
        turned = module.transposed
        module.in_channels, module.out_channels = (first, second) if turned else (second, first)
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        module.normalized_shape = tuple(weight.shape)
    for kind, words in _WIDTHS:
        if isinstance(module, kind):
            for word, dim in words.items():
                setattr(module, word, weight.shape[dim])
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # Hugging Face's [in, out]
        module.nf = weight.shape[1]


def _set_attention_widths(module: Any) -> None:
    out, packed = module.out_proj, module.in_proj_weight
    out.out_features, out.in_features = out.weight.shape
    module.embed_dim = out.out_features
    module.kdim = (module.k_proj_weight if packed is None else packed).shape[1]
    module.vdim = (module.v_proj_weight if packed is None else packed).shape[1]
