"""What every layer on a packed sparse weight shares: state, types, copies, checkpoints. No op.

How a weight is packed is said in secateur.formats. A weight is a matrix [out, in] here, whatever
the layer makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from secateur.backends.beside import held
from secateur.formats import Packed, packed_alike
from secateur.nn import canonical, packing, stored

KEYS = ("mask", "values", "version")

_Dense = TypeVar("_Dense", nn.Linear, nn.Conv1d, nn.Conv2d)


class SparseLayer(nn.Module):
    """A packed weight and its bias, as a module. It computes nothing by itself.

    The layer trains: `values` is a parameter, dropped weights have no slot in it and stay zero.
    Its state_dict is canonical (`mask` bits, row-major `values`, `bias`, `version`) and loads
    into any packed format; loading another mask repacks.

    Attributes:
        values: [slots], the kept weights in the packed format's order, zero padded; see `store`.
        scale: [out], float32, what int8 values are multiplied by; None with floats.
        index: uint8 [bytes], header and positions; see secateur.formats.
        bias: [out] or None.
        dense: like `weight`, or None: a dense copy for the row counts where the sparse kernel was
            measured to lose. It follows `values`; training does not use it.
        format: name of the packed format.
    """

    values: nn.Parameter
    index: Tensor
    bias: nn.Parameter | None
    scale: Tensor | None
    dense: Tensor | None
    transposed: Tensor | None

    def __init__(self, packed: Packed, bias: Tensor | None = None, *, trains: bool = True) -> None:
        super().__init__()
        self._columns = packed.in_features
        self._rows = packed.out_features
        self.format = packed.format
        self.values = nn.Parameter(packed.values, requires_grad=trains)
        self.register_buffer("index", packed.index)
        if bias is None:
            self.register_parameter("bias", None)
        else:
            self.bias = nn.Parameter(bias.detach().clone(), requires_grad=trains)
        self.register_buffer("scale", None)
        self.register_buffer("dense", None)
        self.register_buffer("transposed", None)
        self._dense_is_of = -1  # values' version counter when the dense copy was taken

    @property
    def op(self) -> str:
        """Name of the op that computes it."""
        raise NotImplementedError

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Shape [out, in] of `matrix`."""
        return self._rows, self._columns

    @property
    def matrix(self) -> Tensor:
        """The weight as a dense matrix [out, in]; a copy, made at each access."""
        with torch.no_grad():
            return stored.floats(packing.unpack(self.format, self.values, self.index), self.scale)

    @property
    def weight(self) -> Tensor:
        """The weight as the dense layer has it; a copy, made at each access."""
        return self.matrix

    def to_dense(self) -> nn.Module:
        """Return torch's layer with this one's weight (zeros and all), bias, and mode."""
        raise NotImplementedError

    def _packed(self, weight: Tensor, mask: Tensor, format: str | None) -> Packed:
        """Pack another weight [out, in] for this layer; format None chooses."""
        return packing.pack(weight, mask, format, inferred=False)

    def _prepare(self, x: Tensor) -> Tensor | None:
        """Make what a call on `x` needs; return the dense copy if it may be used."""
        if not torch.compiler.is_compiling():
            if self._buffers["dense"] is not None:
                self._refresh()
            if x.requires_grad and torch.is_grad_enabled():
                self._transpose()
        # A graph that trains cannot bring the copy up to date after each step.
        return None if self.training and torch.is_grad_enabled() else self._buffers["dense"]

    @property
    def mask(self) -> Tensor:
        """Bool [out_features, in_features], True where a weight is kept."""
        return packing.mask(self.format, self.index)

    @property
    def sparsity(self) -> float:
        """Fraction of weights removed, in [0, 1]."""
        return 1.0 - packing.kept(self.index) / max(1, self._columns * self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes this layer holds: weight, positions, bias, and the copies it keeps.

        What a kernel of a GPU made of them and keeps is counted from its first call on.
        """
        return self.weight_bytes + (0 if self.bias is None else self.bias.nbytes + held(self.bias))

    @property
    def weight_bytes(self) -> int:
        """Bytes of `nbytes` that are not the bias's."""
        mine = (self.values, self.index, self.scale, self.dense, self.transposed)
        return sum(t.nbytes + held(t) for t in mine if t is not None)

    def _refresh(self) -> None:
        """Bring the dense copy up to date with the values."""
        if self.dense is not None and self._age() != self._dense_is_of:
            self._refresh_dense()

    def _refresh_dense(self) -> None:
        self.keep_dense(self.dense is not None)

    def _age(self) -> int:
        """How often the values have been written to; tensors of inference mode do not count."""
        return 0 if self.values.is_inference() else self.values._version

    def _transpose(self) -> None:
        """Make what the gradient of x needs; without it every backward makes it anew."""
        if self.transposed is None and not self.index.is_meta:
            self.transposed = packing.transpose(self.format, self.index)

    def keep_dense(self, keep: bool = True) -> None:
        """Take (or, with keep=False, drop) the dense copy for row counts where sparse loses."""
        self.dense = self.weight if keep else None
        self._dense_is_of = self._age()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        # The values of a copy count from zero again.
        self._refresh_dense()

    def train(self, mode: bool = True) -> Self:
        """Set the mode; what it needs is made here, for a compiled call cannot make it."""
        super().train(mode)
        self._refresh()
        if mode and torch.is_grad_enabled():
            self._transpose()
        return self

    @torch.no_grad()
    def store(self, dtype: torch.dtype) -> Self:
        """Hold the kept weights in `dtype`, in place; x and y keep their types, sums are float32.

        Fewer bytes are faster where one row of x reads the weight from memory; rows by the hundred
        gain nothing. Rounding them is one-way: from int8 there is no way back to what was.

        Args:
            dtype: torch.float32, torch.bfloat16, torch.float16, torch.float64, or torch.int8: one
                scale for each output. An int8 weight does not train.

        Returns:
            This layer.

        Raises:
            ValueError: if the dtype is none of these, or a weight has no int8 form.
        """
        stored.check(dtype)
        values = packing.floats(self.format, self.values, self.index, self.scale)
        scale = None
        if dtype == torch.int8:
            rows = packing.rows(self.format, self.index)
            used = packing.occupied(self.format, self.index)
            kept, scale = stored.quantize(values[used], rows, self._rows)
            values = torch.zeros_like(values, dtype=torch.int8)
            values[used] = kept
        self._hold(values.to(dtype), scale)
        return self

    def _hold(self, values: Tensor, scale: Tensor | None) -> None:
        trains = self.values.requires_grad and scale is None
        self.values = nn.Parameter(values, requires_grad=trains)
        self.scale = scale
        self._refresh_dense()

    def _filled(self, dense: _Dense) -> _Dense:
        """Give a dense layer this one's weight, bias and mode."""
        dense.weight = nn.Parameter(self.weight, requires_grad=self.values.requires_grad)
        if self.bias is not None:
            dense.bias = nn.Parameter(
                self.bias.detach().clone(), requires_grad=self.bias.requires_grad
            )
        dense.train(self.training)
        return dense

    @property
    def _made_like(self) -> dict[str, Any]:
        """What a dense layer is made with to hold this one's numbers."""
        return {
            "bias": self.bias is not None,
            "device": self.values.device,
            "dtype": self.values.dtype if self.scale is None else self.scale.dtype,
        }

    def canonical(self) -> canonical.Canonical:
        """Return the weight as files hold it: mask bits and row-major kept values."""
        dense = packing.unpack(self.format, self.values.detach(), self.index)
        return canonical.of_dense(dense, self.mask)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._refresh()
        scale, before = self.scale, self.index.device.type
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if scale is not None and self.scale is not None:  # moved, but not made a smaller type
            self.scale = scale.to(self.scale.device)
        self._dense_is_of = self._age()
        if {before, self.index.device.type} == {"cpu", "cuda"}:
            self._settle(self.index.device.type)
        return self

    @torch.no_grad()
    def _settle(self, kind: str) -> None:
        """Repack into a format that kernels on this kind of device ("cpu", "cuda") read.

        Raises:
            RuntimeError: if there is no memory for a second copy of the weight; the layer then
                stands in its old format, right and slow.
        """
        mask = self.mask
        format = self._format_on(kind, mask)
        if format == self.format:
            return
        try:
            weight = packing.unpack(self.format, self.values.detach(), self.index)
            self._adopt(weight, mask, self.scale, format)
        except torch.OutOfMemoryError as error:
            rows, columns = self.matrix_shape
            raise RuntimeError(
                f"no memory on {self.index.device} to repack a weight [{rows}, {columns}] from "
                f"{self.format!r} to {format!r}; convert the model on that device layer by layer "
                "(sc.convert with targets=), or free memory there first"
            ) from error

    def _format_on(self, kind: str, mask: Tensor) -> str:
        """Return the format that this layer takes on a kind of device."""
        return self.format

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        bits, values = self.canonical()
        destination[prefix + "mask"] = bits
        destination[prefix + "values"] = values
        destination[prefix + "version"] = torch.tensor(canonical.VERSION)
        if self.scale is not None:
            destination[prefix + "scale"] = self.scale
        if self.bias is not None:
            destination[prefix + "bias"] = self.bias if keep_vars else self.bias.detach()

    def _load_from_state_dict(  # noqa: PLR0913  nn.Module's signature
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        wanted = [*KEYS, "bias"] if self.bias is not None else list(KEYS)
        own = {k[len(prefix) :] for k in state_dict if k.startswith(prefix)}
        if "weight" in own and "mask" not in own:
            error_msgs.append(
                f"{prefix}weight is a dense weight, but the layer is sparse. Load the checkpoint "
                "into the dense model and convert that, or make the layer dense: sc.to_dense"
            )
            return
        if own & {"scale"}:
            wanted.append("scale")
        missing = [prefix + k for k in wanted if k not in own]
        if strict:
            missing_keys += missing
            unexpected_keys += [prefix + k for k in sorted(own - set(wanted))]
        if any(prefix + k in missing for k in KEYS):
            return
        reason = self._fault(state_dict, prefix)
        if reason is not None:
            error_msgs.append(f"{prefix.rstrip('.') or type(self).__name__}: {reason}")
            return
        assign = bool(local_metadata.get("assign_to_params_buffers", False))
        self._take(state_dict, prefix, assign)

    def _fault(self, state: Mapping[str, Any], prefix: str) -> str | None:
        version = state[prefix + "version"]
        if not torch.equal(version.cpu(), torch.tensor(canonical.VERSION)):
            return (
                f"version {version.tolist()} of the sparse layout was saved; this package reads "
                f"version {canonical.VERSION}"
            )
        bias = state.get(prefix + "bias")
        if self.bias is not None and bias is not None and bias.shape != self.bias.shape:
            return f"bias must be {list(self.bias.shape)}, got {list(bias.shape)}"
        shape = (self._rows, self._columns)
        kept, scale = state[prefix + "values"], state.get(prefix + "scale")
        return canonical.fault(state[prefix + "mask"], kept, shape, scale)

    @torch.no_grad()
    def _take(self, state: Mapping[str, Any], prefix: str, assign: bool) -> None:
        """Repack a checked state into this layer; `assign` keeps the state's dtype and device."""
        whole = canonical.Canonical(state[prefix + "mask"], state[prefix + "values"])
        scale = state.get(prefix + "scale")
        if scale is None and not assign and self.scale is None:
            whole = canonical.Canonical(whole.bits, whole.values.to(self.values))
        weight, mask = canonical.to_dense(whole, (self._rows, self._columns), scale)
        if scale is not None:
            scale = scale.detach().clone() if assign else scale.to(self.index.device)
        self.adopt(weight, mask, scale)
        bias = state.get(prefix + "bias")
        if self.bias is not None and bias is not None:
            if assign:
                self.bias.data = bias.detach().clone()
            else:
                self.bias.copy_(bias)

    @torch.no_grad()
    def adopt(self, weight: Tensor, mask: Tensor, scale: Tensor | None = None) -> None:
        """Repack another weight of this shape; `values` stays the same Parameter object.

        Verdicts measured for another mask are dropped with it.

        Args:
            weight: [out_features, in_features]; int8 with a scale.
            mask: bool, same shape, True where a weight is kept.
            scale: [out_features], float32, or None.
        """
        same = torch.equal(mask.to(self.index.device), self.mask)
        self._adopt(weight, mask, scale, self.format if same else None)

    def _adopt(
        self, weight: Tensor, mask: Tensor, scale: Tensor | None, format: str | None
    ) -> None:
        """Repack a weight into a format; None chooses one, for a mask that is not the one held."""
        same, kept_dense = format is not None, self.dense is not None
        numbers = weight if scale is None else weight.float()
        packed = self._packed(numbers, mask, format)
        values = packed.values.to(weight.dtype)
        self.values.requires_grad_(self.values.requires_grad and scale is None)
        # A layer packed by hand may have another order of values than the one chosen here.
        alike = same and packed_alike(packed.index, self.index)
        if not alike or values.dtype != self.values.dtype:
            self.values.grad = None
        self.values.data = values
        self.scale = scale
        if not alike:
            self.format = packed.format
            self.index = packed.index
            self.transposed = None
        self.keep_dense(kept_dense and same)
