"""A 2-D convolution on a packed sparse weight, with nn.Conv2d's signature."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from secateur.formats import Packed
from secateur.nn import dense_layer, packing
from secateur.nn.dense_layer import PADDING_MODES, Geometry, PaddingMode
from secateur.nn.sparse_layer import SparseLayer


class SparseConv2d(SparseLayer):
    """y = conv2d(x, W) + b with a packed W: drop-in for nn.Conv2d; state as of `SparseLayer`.

    The weight [out, in / groups, kh, kw] is packed as a matrix [out, kh * kw * in / groups], the
    channel fastest.

    Attributes:
        in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode: as of
            nn.Conv2d.
        padding: (left, right, top, bottom), in numbers, whatever nn.Conv2d was given.

    Shape:
        x [N, C, H, W] or [C, H, W] -> [N, out, H', W'], in x's dtype and memory format.
    """

    dims = 2  # of an image

    def __init__(  # noqa: PLR0913  nn.Conv2d's arguments
        self,
        packed: Packed,
        bias: Tensor | None = None,
        *,
        kernel_size: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        trains: bool = True,
    ) -> None:
        super().__init__(packed, bias, trains=trains)
        taps = kernel_size[0] * kernel_size[1]
        if padding_mode not in PADDING_MODES:
            wanted = f"{', '.join(PADDING_MODES[:-1])} or {PADDING_MODES[-1]}"
            raise ValueError(f"padding_mode: wanted {wanted}, got {padding_mode!r}")
        if packed.in_features % taps or packed.out_features % groups:
            raise ValueError(
                f"packed: wanted columns that kernel_size {kernel_size} divides and rows that "
                f"{groups} groups divide, got {packed.out_features} x {packed.in_features}"
            )
        self.in_channels = packed.in_features // taps * groups
        self.out_channels = packed.out_features
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, dilation
        self.padding, self.padding_mode, self.groups = padding, padding_mode, groups

    @classmethod
    def from_dense(
        cls, conv: nn.Module, mask: Tensor | None = None, *, format: str | None = None
    ) -> SparseConv2d:
        """Pack the weight of a dense convolution; the layer itself is left as it is.

        Args:
            conv: nn.Conv2d, plain, pruned by torch.nn.utils.prune, or with a parametrised weight.
            mask: of the weight's shape, nonzero where a weight is kept; None: where the weight is
                not zero.
            format: "rows", "bsr", "nm", "csr" or "semi_frag"; None: "rows" where whole outputs and
                input channels are gone (and groups is 1), "bsr" where the kept weights of the
                matrix [out, kh * kw * in / groups] are blocks of outputs of one group or of
                columns, "nm" where every group of input channels obeys one N:M (N KEPT of M), else
                "csr"; on a GPU "semi_frag" before these where the matrix is 2:4 and each of
                several groups has a multiple of 32 outputs.

        Raises:
            TypeError: if `conv` is another kind of module.
            ValueError: if the mask's shape is wrong or the format does not fit the mask.
        """
        layer = dense_layer.read_conv(conv, mask)
        geometry = layer.geometry
        assert geometry is not None
        if geometry.dims != cls.dims:
            raise TypeError(
                f"conv: wanted an nn.Conv{cls.dims}d, got {type(conv).__name__}; use "
                f"SparseConv{geometry.dims}d"
            )
        packed = _pack(layer.weight, layer.mask, format, geometry.groups, inferred=layer.inferred)
        sparse = cls(packed, layer.bias, **geometry.arguments, trains=layer.trains)
        sparse.training = conv.training
        return sparse

    @property
    def geometry(self) -> Geometry:
        """Everything about the convolution but its weight."""
        kernel, stride, dilation = self.kernel_size, self.stride, self.dilation
        shape = (kernel, stride, self.padding, dilation)
        return Geometry(*shape, self.groups, self.padding_mode, self.dims)

    @property
    def op(self) -> str:
        """Name of the op that computes it."""
        return f"{self.format}_conv2d"

    @property
    def weight(self) -> Tensor:
        """The weight as a dense tensor [out, in / groups, kh, kw]; a copy, made at each access."""
        channels = self.in_channels // self.groups
        return self.matrix.reshape(self.out_channels, *self.kernel_size, channels).movedim(-1, 1)

    def _packed(self, weight: Tensor, mask: Tensor, format: str | None) -> Packed:
        return _pack(weight, mask, format, self.groups, inferred=False)

    def _format_on(self, kind: str, mask: Tensor) -> str:
        """Return the format that this layer takes on a kind of device: its own if that will do."""
        if kind == "cuda":
            known = self.format in packing.BY_TORCH | packing.ON_GPU_ONLY
            there = [] if known else packing.convolving_on_gpu(mask, self.groups)
            return there[0] if there else self.format
        ours = self.format not in packing.ON_GPU_ONLY
        return self.format if ours else packing.convolving(mask, self.groups, inferred=False)[0]

    def forward(self, x: Tensor) -> Tensor:
        """Return conv2d(x, W) + b for x [N, C, H, W] or [C, H, W]."""
        if x.dim() == 3:
            y: Tensor = self(x[None])
            return y[0]
        values, buffers = self.values, self._buffers
        dense = self._prepare(x)
        wanted = None
        if torch.is_autocast_enabled(x.device.type):
            wanted = torch.get_autocast_dtype(x.device.type)
            x = x if buffers["scale"] is not None else x.to(values.dtype)
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, padding, mode=self.padding_mode), (0, 0, 0, 0)
        y = packing.conv2d(self.format)(
            x,
            values,
            buffers["index"],
            self.bias,
            scale=buffers["scale"],
            dense=dense,
            transposed=buffers["transposed"],
            out_channels=self.out_channels,
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y if wanted is None else y.to(wanted)

    def to_dense(self) -> nn.Conv2d:
        """Return an nn.Conv2d with this layer's weight (zeros and all), bias, and mode.

        Raises:
            ValueError: if nn.Conv2d has no such padding, which only a layer made by hand can have.
        """
        made: nn.Conv2d = nn.utils.skip_init(
            nn.Conv2d,
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            self.stride,
            self.geometry.as_given(),
            self.dilation,
            self.groups,
            padding_mode=self.padding_mode,
            **self._made_like,
        )
        return self._filled(made)

    def extra_repr(self) -> str:
        """Return nn.Conv2d's line, with sparsity and format."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"groups={self.groups}, bias={self.bias is not None}, "
            f"padding_mode={self.padding_mode!r}, sparsity={self.sparsity:.3f}, "
            f"format={self.format}"
        )


def _pack(
    weight: Tensor, mask: Tensor, format: str | None, groups: int, *, inferred: bool
) -> Packed:
    """Pack a matrix [out, kh * kw * in / groups] in a format that has a convolution."""
    if format is None:
        there = packing.convolving_on_gpu(mask, groups) if weight.is_cuda else []
        format = (there or packing.convolving(mask, groups, inferred=inferred))[0]
    elif format not in packing.convolved():
        wanted = " or ".join(packing.convolved())
        raise ValueError(f"format: wanted {wanted} for a convolution, got {format!r}")
    return packing.pack(weight, mask, format, inferred=inferred, groups=groups)
