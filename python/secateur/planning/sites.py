"""The layers of a model that could be sparse, and for every other one the reason why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from secateur.nn import dense_layer, projections
from secateur.nn.attention import SparseMultiheadAttention
from secateur.nn.sparse_layer import SparseLayer
from secateur.planning.observe import Seen
from secateur.planning.record import LayerRecord
from secateur.planning.select import meant
from secateur.planning.size import Size, linear
from secateur.pruning.selectors import Selectors

MIN_SPARSITY = 0.3  # below, no kernel of ours is faster than dense and the file hardly smaller


@dataclass(frozen=True)
class Site:
    """A module that may be swapped as a whole.

    Attributes:
        name: its first name in the model.
        module: a linear layer, a convolution, or an attention module.
        reason: why it stays dense; None if it may be swapped.
    """

    name: str
    module: nn.Module
    reason: str | None


@dataclass(frozen=True)
class Part:
    """One layer of a site: the site's module, or a projection of its attention.

    Attributes:
        name: under which it is reported.
        key: the name in the model of the parameter its weight is, or is part of.
        layer: not a child of the model where it is a projection.
        sizes: it was seen with.
    """

    name: str
    key: str
    layer: nn.Module
    sizes: frozenset[Size]


def find(model: nn.Module, targets: Selectors | None = None, ignore: Selectors = ()) -> list[Site]:
    """Return every layer of `model` that holds a weight, in the order of the model.

    Raises:
        ValueError: if a parameter has no shape yet, or a selector matches nothing.
    """
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ValueError(f"model: {name!r} has no shape yet; run the model once before")
    wanted = meant(model, targets, ignore)
    owners = _owners(model)
    inside: set[int] = set()
    sites = []
    for name, module in model.named_modules():
        if id(module) in inside:
            continue
        if _is_whole(module):
            inside.update(map(id, module.modules()))
        elif not any(p.dim() >= 2 for p in module.parameters(recurse=False)):
            continue
        sites.append(Site(name, module, _reason(module, wanted, owners)))
    return sites


def _is_whole(module: nn.Module) -> bool:
    """Tell whether what is inside `module` is part of its weight, and no layer of its own."""
    if isinstance(module, nn.MultiheadAttention | SparseMultiheadAttention | SparseLayer):
        return True
    return hasattr(module, "parametrizations") or dense_layer.why_not(module) is None


def _reason(
    module: nn.Module,
    wanted: Callable[[nn.Module], bool],
    owners: dict[int, dict[int, str]],
) -> str | None:
    if isinstance(module, SparseMultiheadAttention | SparseLayer):
        return "it is sparse already"
    if isinstance(module, nn.MultiheadAttention):
        reason = projections.why_not(module)
    else:
        reason = dense_layer.why_not(module)
    if reason is not None:
        return reason
    if not wanted(module):
        return "excluded by targets or ignore"
    own = set(map(id, module.modules()))
    for parameter in module.parameters():
        for owner, name in owners[_key(parameter)].items():
            if owner not in own:
                return f"shares a parameter with {name!r}; packing it would part the two"
    return None


def _owners(model: nn.Module) -> dict[int, dict[int, str]]:
    """For each parameter's storage, the modules that hold it: {module id: parameter name}."""
    owners: dict[int, dict[int, str]] = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            owners.setdefault(_key(parameter), {})[id(module)] = full
    return owners


def _key(parameter: Tensor) -> int:
    """A number that tensors have in common if they begin at one place in memory.

    The storage would say too much: tensors read from one file may share it.
    """
    return parameter.data_ptr() or id(parameter)


def parts(site: Site, seen: Seen, extra: Sequence[int]) -> list[Part]:
    """Return the layers of a site with the sizes to judge them at.

    Args:
        site: that may be swapped.
        seen: what it was called with.
        extra: further row counts; a convolution needs to be seen.
    """
    rows = frozenset(seen.rows) | frozenset(extra)
    prefix = f"{site.name}." if site.name else ""
    module = site.module
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return [Part(site.name, f"{prefix}weight", module, frozenset(seen.images))]
    if not isinstance(module, nn.MultiheadAttention):
        return [Part(site.name, f"{prefix}weight", module, linear(rows))]
    layers = projections.projections(module, seen.shared or (3,))
    out = projections.plain_linear(projections.now(module.out_proj, "weight"), module.out_proj.bias)
    key_rows = frozenset(seen.key_rows) | frozenset(extra)
    keys = ["in_proj_weight"] * len(layers)
    if module.in_proj_weight is None:
        keys = ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
    found = []
    for at, layer in enumerate(layers):
        # The first takes the query (and with one layer, everything); the others keys and values.
        sizes = linear(rows if at == 0 else key_rows)
        found.append(Part(f"{prefix}in_proj.{at}", prefix + keys[at], layer, sizes))
    return [*found, Part(f"{prefix}out_proj", f"{prefix}out_proj.weight", out, linear(rows))]


def described(site: Site) -> LayerRecord:
    """Record a layer that is no candidate."""
    weight = next((p for p in site.module.parameters() if p.dim() >= 2), None)
    note = LayerRecord(site.name, type(site.module).__name__, reason=site.reason or "")
    if weight is not None:
        note.shape = (weight.shape[0], weight[0].numel())
        note.bytes_dense = note.bytes_sparse = weight.nbytes
        if not weight.is_meta:
            note.sparsity = 1.0 - int(torch.count_nonzero(weight)) / max(1, weight.numel())
    return note


def belongs(name: str, site: Site) -> bool:
    """Tell whether a record called `name` is about a site that is sparse already."""
    if isinstance(site.module, SparseMultiheadAttention):
        return name.startswith(f"{site.name}." if site.name else "")
    return isinstance(site.module, SparseLayer) and name == site.name


def checked_rows(rows: object) -> tuple[int, ...]:
    """Return `rows` as a tuple.

    Raises:
        TypeError: if it is no collection.
        ValueError: if one is no whole number of at least 1.
    """
    if not isinstance(rows, Iterable):
        raise TypeError(f"rows: wanted a collection of whole numbers, got {rows!r}")
    checked = []
    for count in rows:
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"rows: wanted whole numbers of at least 1, got {count!r}")
        checked.append(count)
    return tuple(checked)
