"""A 1-D convolution on a packed sparse weight, with nn.Conv1d's signature."""

from __future__ import annotations

from torch import Tensor, nn

from secateur.nn.sparse_conv2d import SparseConv2d


class SparseConv1d(SparseConv2d):
    """y = conv1d(x, W) + b with a packed W: a sequence is an image of height 1.

    Attributes:
        kernel_size, stride, padding, dilation: of that image, as of `SparseConv2d`.

    Shape:
        x [N, C, L] or [C, L] -> [N, out, L'], in x's dtype.
    """

    dims = 1

    @property
    def weight(self) -> Tensor:
        """The weight as a dense tensor [out, in / groups, k]; a copy, made at each access."""
        return super().weight.squeeze(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return conv1d(x, W) + b for x [N, C, L] or [C, L]."""
        if x.dim() not in (2, 3):
            raise ValueError(f"x must be [N, C, L] or [C, L], got {list(x.shape)}")
        if x.dim() == 2:
            y: Tensor = self(x[None])
            return y[0]
        return super().forward(x.unsqueeze(-2)).squeeze(-2)

    def to_dense(self) -> nn.Conv1d:  # type: ignore[override]
        """Return an nn.Conv1d with this layer's weight (zeros and all), bias, and mode."""
        made: nn.Conv1d = nn.utils.skip_init(
            nn.Conv1d,
            self.in_channels,
            self.out_channels,
            self.kernel_size[1],
            self.stride[1],
            self.geometry.as_given(),
            self.dilation[1],
            self.groups,
            padding_mode=self.padding_mode,
            **self._made_like,
        )
        return self._filled(made)
