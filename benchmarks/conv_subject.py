"""A sparse convolution under test: a random weight, packed in its layer, and what judges it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import subject
from benchmarks.conv_cases import ConvCase
from benchmarks.subject import Subject
from secateur.formats import Header
from secateur.nn.sparse_conv2d import SparseConv2d


def make_conv(case: ConvCase) -> nn.Conv2d:
    """Return the dense convolution of a case's shape, without a bias, with random weights."""
    shape = case.shape
    args = (shape.channels, shape.outputs, shape.kernel, shape.stride, shape.kernel // 2)
    conv = nn.utils.skip_init(nn.Conv2d, *args, bias=False, device="cpu")
    with torch.no_grad():
        conv.weight.normal_(generator=_generator(case))
    return conv.eval().requires_grad_(False)


def images_of(case: ConvCase) -> Tensor:
    """Return x, [images, channels, size, size]."""
    shape = case.shape
    size = (case.images, shape.channels, shape.size, shape.size)
    return torch.randn(size, generator=_generator(case))


def make_mask(case: ConvCase) -> Tensor:
    """Return a mask of the case's pattern, shaped like the weight [out, in, kh, kw]."""
    shape, layer = case.shape, case.layer
    if case.pattern == "rows":  # a channel goes with all its taps
        few = ConvCase(type(shape)(shape.channels, shape.outputs, 1), 1, "rows", case.sparsity)
        whole = subject.make_mask(few.layer)[:, :, None, None]
        return whole.expand(-1, -1, shape.kernel, shape.kernel)
    taps = subject.make_mask(layer).view(shape.outputs, shape.kernel, shape.kernel, -1)
    return taps.movedim(-1, 1)


def make(case: ConvCase, conv: nn.Conv2d) -> Subject:
    """Prune `conv` at random to the case's pattern and pack it; `conv` is not changed."""
    mask = make_mask(case)
    layer = SparseConv2d.from_dense(conv, mask).eval()
    values, index = layer.values.detach(), layer.index
    kept = Header.read(index).nnz
    return Subject(
        pruned=lambda: conv.weight * mask,
        nonzeros=kept,
        packed_bytes=values.nbytes + index.nbytes,
        read_bytes=kept * values.itemsize + index.nbytes,
        binders=[lambda x: lambda: layer(x)],
        kernel=lambda pixels: subject.kernel_name(layer.op, index, pixels),
    )


def right(conv: nn.Conv2d, weight: Tensor, x: Tensor, y: Tensor) -> bool:
    """Tell whether y is what `conv` with the dense `weight` gives, within the rounding of its sums.

    A sum of k products is off by at most k eps times the sum of their sizes.

    Args:
        conv: has the geometry and the bias; zeros around x.
        weight: [out, C / groups, kh, kw].
        x: [N, C, H, W].
        y: [N, out, H', W'].
    """
    options = (conv.stride, conv.padding, conv.dilation, conv.groups)

    def convolved(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        offset = None if bias is None else bias.double()
        return F.conv2d(x.double(), weight.double(), offset, *options)

    bias = None if conv.bias is None else conv.bias.detach()
    size = convolved(x.abs(), weight.abs(), None if bias is None else bias.abs())
    bound = (weight[0].numel() + 2) * torch.finfo(x.dtype).eps * size
    return bool(((y - convolved(x, weight, bias)).abs() <= bound).all())


def _generator(case: ConvCase) -> torch.Generator:
    shape = case.shape
    return torch.Generator().manual_seed(shape.channels + shape.outputs + shape.kernel)
