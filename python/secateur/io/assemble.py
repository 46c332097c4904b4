"""From an open file and a skeleton to the modules and tensors that take the skeleton's place."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from secateur.formats import FORMATS, Verdict, with_verdicts
from secateur.formats.header import BUCKETS
from secateur.io.layout import LayerSpec
from secateur.io.reader import Reader
from secateur.nn import layers
from secateur.nn.attention import SparseMultiheadAttention
from secateur.nn.convert import carry_hooks
from secateur.nn.dense_layer import DenseLayer, Geometry, is_conv1d
from secateur.nn.projections import plain_linear
from secateur.nn.sparse_conv2d import SparseConv2d
from secateur.nn.sparse_layer import SparseLayer
from secateur.nn.sparse_linear import SparseLinear
from secateur.planning import cost, gate, machine


class Assembly:
    """Builds all new parts of a model before any of it is put together.

    Args:
        skeleton: is only looked at.
        reader: an open file.
    """

    def __init__(self, skeleton: nn.Module, reader: Reader) -> None:
        self._skeleton = skeleton
        self._reader = reader
        self._layers = reader.spec.layers
        self._memo: dict[int, object] = {}

    def memo(self) -> dict[int, object]:
        """Return what takes the place of the skeleton's modules and tensors, by their id.

        Raises:
            ValueError: if file and skeleton do not belong together.
        """
        modules = dict(self._skeleton.named_modules())
        for name, spec in self._layers.items():
            owner = name.rpartition(".in_proj.")[0] or name.rpartition(".out_proj")[0]
            if owner not in self._layers and name not in modules:
                raise ValueError(
                    f"layer {name!r} is sparse in the file, and not in the skeleton at all; build "
                    "the skeleton like the model that was saved"
                )
            _check_spec(name, spec)
        inside: set[int] = set()
        for name, module in modules.items():
            if id(module) in inside:
                continue
            if name in self._layers:
                inside.update(map(id, module.modules()))
                new = self._replacement(name, module)
                if new is not None:
                    self._memo[id(module)] = new
            else:
                self._tensors(name, module)
        self._reader.finish()
        return self._memo

    def _replacement(self, name: str, module: nn.Module) -> nn.Module | None:
        spec = self._layers[name]
        new: nn.Module | None
        trains = any(p.requires_grad for p in module.parameters())
        if spec.kind == "attention":
            new = self._attention(name, module, trains)
        else:
            convolves = spec.kind == "conv2d"
            shape = _conv2d_shape(module) if convolves else _linear_shape(module)
            if shape is None:
                what = "convolution" if convolves else "linear layer"
                raise ValueError(
                    f"layer {name!r} is a sparse {what} in the file and "
                    f"{type(module).__name__} in the skeleton"
                )
            _check_shape(name, spec, shape)
            new = self._sparse(name, spec, trains, _geometry(module))
        if new is not None:
            new.to(_device(module))
            carry_hooks(module, new, share=False)
            for part in new.modules():
                part.training = module.training
        return new

    def _attention(self, name: str, module: nn.Module, trains: bool) -> nn.Module | None:
        if not isinstance(module, nn.MultiheadAttention | SparseMultiheadAttention):
            raise ValueError(
                f"layer {name!r} is sparse attention in the file and {type(module).__name__} in "
                "the skeleton"
            )
        spec, width = self._layers[name], module.embed_dim
        _check_shape(name, spec, (width, width))
        inputs = (width, module.kdim, module.vdim)
        projections: list[nn.Module | None] = []
        given = 0
        for at, share in enumerate(spec.parts):
            shape = (share * width, inputs[given])
            projections.append(self._part(f"{name}.in_proj.{at}", shape, spec.bias, trains))
            given += share
        out = self._part(f"{name}.out_proj", (width, width), spec.bias, trains)
        whole = [part for part in projections if part is not None]
        if out is None or len(whole) < len(projections):
            return None
        return SparseMultiheadAttention(module, whole, out)

    def _part(
        self, name: str, shape: tuple[int, int], bias: bool, trains: bool
    ) -> nn.Module | None:
        """Return a projection of an attention layer, sparse or dense as the file has it."""
        spec = self._layers.get(name)
        if spec is not None:
            _check_shape(name, spec, shape)
            return self._sparse(name, spec, trains)
        weight = self._reader.take(f"{name}.weight", shape)
        offset = self._reader.take(f"{name}.bias", shape[:1]) if bias else None
        if weight is None:
            return None
        return plain_linear(weight, offset).requires_grad_(trains)

    def _sparse(
        self, name: str, spec: LayerSpec, trains: bool, geometry: Geometry | None = None
    ) -> SparseLayer | None:
        shape = (spec.out_features, spec.in_features)
        found = self._reader.take_sparse(name, shape)
        prefix = f"{name}." if name else ""
        bias = self._reader.take(f"{prefix}bias", shape[:1]) if spec.bias else None
        if found is None:
            return None
        weight, mask, scale = found
        format = spec.format
        if format not in FORMATS.names() or FORMATS.get(str(format)).fits(mask) is not None:
            format = None
        numbers = weight if scale is None else weight.float()
        dense = DenseLayer(numbers, bias, mask, False, trains, geometry)
        layer = layers.sparse(dense, layers.packed(dense, format or layers.formats(dense)[0]))
        if scale is not None:
            layer.adopt(weight, mask, scale)
        verdicts = _verdicts(spec, layer)
        if verdicts:
            layer.index = with_verdicts(layer.index, verdicts, machine.stamp())
        layer.keep_dense(spec.keeps_dense)
        return layer

    def _tensors(self, name: str, module: nn.Module) -> None:
        """Read what a module that stays dense holds itself."""
        if isinstance(module, SparseLayer):
            raise ValueError(
                f"layer {name!r} is dense in the file and sparse in the skeleton; build the "
                "skeleton dense"
            )
        for local, tensor in _own_tensors(module):
            full = f"{name}.{local}" if name else local
            read = self._reader.take(full, tuple(tensor.shape))
            # A tensor the skeleton shares keeps its first name's values, as it has one memory.
            if read is None or id(tensor) in self._memo:
                continue
            read = read.to(tensor.device if not tensor.is_meta else "cpu")
            if isinstance(tensor, nn.Parameter):
                read = nn.Parameter(read, requires_grad=tensor.requires_grad)
            self._memo[id(tensor)] = read


def _own_tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is not None and name not in module._non_persistent_buffers_set:
            yield name, tensor


def _verdicts(spec: LayerSpec, layer: SparseLayer) -> dict[int, Verdict]:
    """Return verdicts for row counts of each bucket: the file's, or the cost model's."""
    words: dict[int, Verdict] = {1: "sparse", 2: "dense"}
    if spec.machine == machine.stamp():
        codes = {1 << at: spec.verdicts >> 2 * at & 3 for at in range(BUCKETS)}
        return {rows: words[code] for rows, code in codes.items() if code in words}
    if not spec.keeps_dense:
        return {}
    shape, density = layer.matrix_shape, 1.0 - layer.sparsity
    size = layer.values.element_size()
    predicted = [
        cost.predict(shape, density, 1 << at, format=layer.format, item_bytes=size)
        for at in range(BUCKETS)
    ]
    return {t.rows: "sparse" if t.speedup >= gate.THRESHOLD else "dense" for t in predicted}


def _check_spec(name: str, spec: LayerSpec) -> None:
    if spec.kind == "attention" and (sum(spec.parts) != 3 or min(spec.parts) < 1):
        raise ValueError(f"layer {name!r}: its metadata is damaged (parts {list(spec.parts)})")


def _check_shape(name: str, spec: LayerSpec, shape: tuple[int, int]) -> None:
    if (spec.out_features, spec.in_features) != shape:
        raise ValueError(
            f"layer {name!r} is [{spec.out_features}, {spec.in_features}] in the file and "
            f"{list(shape)} in the skeleton; build the skeleton with the same sizes"
        )


def _linear_shape(module: nn.Module) -> tuple[int, int] | None:
    if isinstance(module, nn.Linear | SparseLinear):
        return module.out_features, module.in_features
    if is_conv1d(module) and isinstance(module.weight, Tensor):
        return int(module.weight.shape[1]), int(module.weight.shape[0])
    return None


def _geometry(module: nn.Module) -> Geometry | None:
    if isinstance(module, SparseConv2d):
        return module.geometry
    return Geometry.of(module) if isinstance(module, nn.Conv1d | nn.Conv2d) else None


def _conv2d_shape(module: nn.Module) -> tuple[int, int] | None:
    geometry = _geometry(module)
    if geometry is None:
        return None
    assert isinstance(module, nn.Conv1d | nn.Conv2d | SparseConv2d)
    return module.out_channels, module.in_channels // geometry.groups * geometry.taps


def _device(module: nn.Module) -> torch.device:
    first = next(module.parameters(), None)
    return torch.device("cpu") if first is None or first.is_meta else first.device
