"""A linear layer on a packed sparse weight, with nn.Linear's signature.

What is computed is said in secateur.ops, how a weight is packed in secateur.formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secateur.formats import Packed, packed_alike
from secateur.nn import canonical, dense_layer, packing, stored

KEYS = ("mask", "values", "version")


class SparseLinear(nn.Module):
    """y = x @ W^T + b with a packed W: drop-in for nn.Linear.

    The layer trains: `values` is a parameter, dropped weights have no slot in it and stay zero.
    Its state_dict is canonical (`mask` bits, row-major `values`, `bias`, `version`) and loads
    into any packed format; loading another mask repacks.

    Attributes:
        values: [slots], the kept weights in the packed format's order, zero padded; see `store`.
        scale: [out_features], float32, what int8 values are multiplied by; None with floats.
        index: uint8 [bytes], header and positions; see secateur.formats.
        bias: [out_features] or None.
        dense: [out_features, in_features] or None: a dense copy for the row counts where the
            sparse kernel was measured to lose. It follows `values`; training does not use it.
        format: name of the packed format.

    Shape:
        x [..., in_features] -> [..., out_features], in x's dtype.
    """

    values: nn.Parameter
    index: Tensor
    bias: nn.Parameter | None
    scale: Tensor | None
    dense: Tensor | None
    transposed: Tensor | None

    def __init__(self, packed: Packed, bias: Tensor | None = None, *, trains: bool = True) -> None:
        super().__init__()
        self.in_features = packed.in_features
        self.out_features = packed.out_features
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

    @classmethod
    def from_dense(
        cls, linear: nn.Module, mask: Tensor | None = None, *, format: str | None = None
    ) -> SparseLinear:
        """Pack the weight of a dense layer; the layer itself is left as it is.

        Args:
            linear: nn.Linear or Hugging Face Conv1D; torch.nn.utils.prune's weight_orig and
                weight_mask, a MaskedLinear's weight and mask, and parametrised weights are taken
                as the forward sees them.
            mask: [out_features, in_features], nonzero where a weight is kept; None: where the
                weight is not zero.
            format: name of a packed format; None: "rows" where whole rows and columns are gone,
                "bsr" where whole blocks are, "nm" where every group obeys one N:M (N KEPT of M)
                with M in {4, 8, 16}, else "csr"; "bitmap" and "sell",
                for few rows of x, are only taken by name.

        Raises:
            TypeError: if `linear` is another kind of module.
            ValueError: if the mask's shape is wrong or the format does not fit the mask.
        """
        layer = dense_layer.read(linear, mask)
        packed = packing.pack(layer.weight, layer.mask, format, inferred=layer.inferred)
        sparse = cls(packed, layer.bias, trains=layer.trains)
        sparse.training = linear.training
        return sparse

    @property
    def weight(self) -> Tensor:
        """The weight as a dense tensor [out_features, in_features]; a copy, made at each access."""
        with torch.no_grad():
            return stored.floats(packing.unpack(self.format, self.values, self.index), self.scale)

    @property
    def mask(self) -> Tensor:
        """Bool [out_features, in_features], True where a weight is kept."""
        return packing.mask(self.format, self.index)

    @property
    def sparsity(self) -> float:
        """Fraction of weights removed, in [0, 1]."""
        return 1.0 - packing.kept(self.index) / max(1, self.in_features * self.out_features)

    @property
    def nbytes(self) -> int:
        """Bytes this layer holds: weight, positions, bias, and the copies it keeps."""
        held = (self.values, self.index, self.bias, self.scale, self.dense, self.transposed)
        return sum(t.numel() * t.element_size() for t in held if t is not None)

    def forward(self, x: Tensor) -> Tensor:
        """Return x @ W^T + b for x [..., in_features]."""
        # From the dicts: nn.Module's attribute access would cost 1 µs for each of the six.
        values, bias = self._parameters["values"], self._parameters["bias"]
        buffers = self._buffers
        assert values is not None
        if not torch.compiler.is_compiling():
            if buffers["dense"] is not None:
                self._refresh()
            if x.requires_grad and torch.is_grad_enabled():
                self._transpose()
        wanted = None
        if torch.is_autocast_enabled(x.device.type):
            wanted = torch.get_autocast_dtype(x.device.type)
            x = x if buffers["scale"] is not None else x.to(values.dtype)
        y = packing.linear(self.format)(
            x,
            values,
            buffers["index"],
            bias,
            scale=buffers["scale"],
            # A graph that trains cannot bring the copy up to date after each step.
            dense=None if self.training and torch.is_grad_enabled() else buffers["dense"],
            transposed=buffers["transposed"],
            out_features=self.out_features,
        )
        return y if wanted is None else y.to(wanted)

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

    def train(self, mode: bool = True) -> SparseLinear:
        """Set the mode; what it needs is made here, for a compiled call cannot make it."""
        super().train(mode)
        self._refresh()
        if mode and torch.is_grad_enabled():
            self._transpose()
        return self

    @torch.no_grad()
    def store(self, dtype: torch.dtype) -> SparseLinear:
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
            values, scale = stored.quantize(values, rows, self.out_features)
        self._hold(values.to(dtype), scale)
        return self

    def _hold(self, values: Tensor, scale: Tensor | None) -> None:
        trains = self.values.requires_grad and scale is None
        self.values = nn.Parameter(values, requires_grad=trains)
        self.scale = scale
        self._refresh_dense()

    def to_dense(self) -> nn.Linear:
        """Return an nn.Linear with this layer's weight (zeros and all), bias, and mode."""
        made: nn.Linear = nn.utils.skip_init(
            nn.Linear,
            self.in_features,
            self.out_features,
            bias=self.bias is not None,
            device=self.values.device,
            dtype=self.values.dtype if self.scale is None else self.scale.dtype,
        )
        made.weight = nn.Parameter(self.weight, requires_grad=self.values.requires_grad)
        if self.bias is not None:
            made.bias = nn.Parameter(
                self.bias.detach().clone(), requires_grad=self.bias.requires_grad
            )
        made.train(self.training)
        return made

    def canonical(self) -> canonical.Canonical:
        """Return the weight as files hold it: mask bits and row-major kept values."""
        dense = packing.unpack(self.format, self.values.detach(), self.index)
        return canonical.of_dense(dense, self.mask)

    def extra_repr(self) -> str:
        """Return nn.Linear's line, with sparsity and format."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, sparsity={self.sparsity:.3f}, format={self.format}"
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SparseLinear:
        self._refresh()
        scale = self.scale
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if scale is not None and self.scale is not None:  # moved, but not made a smaller type
            self.scale = scale.to(self.scale.device)
        self._dense_is_of = self._age()
        return self

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
            error_msgs.append(f"{prefix.rstrip('.') or 'SparseLinear'}: {reason}")
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
        shape = (self.out_features, self.in_features)
        kept, scale = state[prefix + "values"], state.get(prefix + "scale")
        return canonical.fault(state[prefix + "mask"], kept, shape, scale)

    @torch.no_grad()
    def _take(self, state: Mapping[str, Any], prefix: str, assign: bool) -> None:
        """Repack a checked state into this layer; `assign` keeps the state's dtype and device."""
        whole = canonical.Canonical(state[prefix + "mask"], state[prefix + "values"])
        scale = state.get(prefix + "scale")
        if scale is None and not assign and self.scale is None:
            whole = canonical.Canonical(whole.bits, whole.values.to(self.values))
        weight, mask = canonical.to_dense(whole, (self.out_features, self.in_features), scale)
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
        kept_dense = self.dense is not None
        numbers = weight if scale is None else weight.float()
        packed = packing.pack(numbers, mask, self.format if same else None, inferred=False)
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
