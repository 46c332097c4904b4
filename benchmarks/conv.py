"""Measures sparse convolutions against the best dense one, in the same rounds.

Dense are torch in both memory formats, and ONNX Runtime; batch 1 unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.dense_conv import dense_calls
from benchmarks.peers._onnx import conv_model
from benchmarks.result import geometric_mean
from benchmarks.timing import Candidate, Plan, Samples, fastest, measure, ratio
from secateur.nn.sparse_conv2d import SparseConv2d

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Shape:
    """One convolution of a network, on one image.

    Attributes:
        channels: of x.
        outputs: channels of y.
        size: height and width of x.
        kernel: height and width of the kernel; padding keeps the size where the stride is 1.
        stride: down and right.
    """

    channels: int
    outputs: int
    size: int
    kernel: int = 1
    stride: int = 1

    @property
    def label(self) -> str:
        """The shape as text: channels to outputs, kernel, and size of x."""
        stride = f" s{self.stride}" if self.stride > 1 else ""
        return f"{self.channels}>{self.outputs} {self.kernel}x{self.kernel}{stride} @{self.size}"


@dataclass(frozen=True)
class Row:
    """A line of the target table: shapes of ResNet-50 and what is asked of them.

    A number that is None asks for nothing.
    """

    label: str
    shapes: tuple[Shape, ...]
    asked: tuple[float | None, ...]


ROWS = (
    Row(
        "1x1, H*W >= 784",
        (Shape(64, 256, 56), Shape(256, 64, 56), Shape(128, 512, 28), Shape(512, 128, 28)),
        (1.5, 2.4, 3.5, 6.2, 10),
    ),
    Row(
        "1x1, H*W <= 196",
        (Shape(256, 1024, 14), Shape(1024, 256, 14), Shape(512, 2048, 7), Shape(2048, 512, 7)),
        (1.3, 2.0, 3.0, 5.0, 7),
    ),
    Row(
        "3x3 stride 1, W >= 28",
        (Shape(64, 64, 56, 3), Shape(128, 128, 28, 3)),
        (None, 2.0, 2.9, 5.2, 8.5),
    ),
    Row(
        "3x3 stride 1, W <= 14",
        (Shape(256, 256, 14, 3), Shape(512, 512, 7, 3)),
        (None, 1.7, 2.4, 4.4, 7),
    ),
    Row(
        "3x3 stride 2",
        (Shape(128, 128, 56, 3, 2), Shape(256, 256, 28, 3, 2), Shape(512, 512, 14, 3, 2)),
        (None, 1.8, 2.6, 4.7, 7.5),
    ),
)


@dataclass(frozen=True)
class Options:
    """What to measure, and how.

    Args:
        plan: how many rounds.
        rows: lines of the target table.
        sparsities: shares of zeros, of unstructured weights.
        images: the batch.
    """

    plan: Plan = field(default_factory=Plan)
    rows: Sequence[Row] = ROWS
    sparsities: Sequence[float] = SPARSITIES
    images: int = 1


def run(options: Options, say: Callable[[str], None]) -> Iterator[str]:
    """Measure everything selected; yields a line at a time, the target table last.

    Args:
        options: what and how.
        say: is told which library is absent.
    """
    columns = "".join(f"{sparsity:>16.0%}" for sparsity in options.sparsities)
    yield f"{'shape':<22}{'best dense ms':>24}{columns}"
    gains: dict[tuple[str, float], list[float]] = {}
    for row in options.rows:
        for shape in row.shapes:
            dense, sparse = compared(shape, options, say)
            best = fastest(dense)
            cells = ""
            for sparsity, samples in sparse.items():
                gain = ratio(dense[best], samples)
                gains.setdefault((row.label, sparsity), []).append(gain.median)
                cells += f"{samples.median * 1e3:>8.3f} {gain.median:>6.2f}x"
            yield f"{shape.label:<22}{best:>16}{dense[best].median * 1e3:>8.3f}{cells}"
    yield f"\n{'asked/got':<24}" + "".join(f"{s:>16.0%}" for s in options.sparsities)
    for row in options.rows:
        cells = ""
        for sparsity in options.sparsities:
            asked = dict(zip(SPARSITIES, row.asked, strict=True)).get(sparsity)
            cells += f"{_asked(asked, geometric_mean(gains[row.label, sparsity])):>16}"
        yield f"{row.label:<24}{cells}"
    yield "geometric mean over shapes of the speed-up over the fastest dense library"


def compared(
    shape: Shape, options: Options, say: Callable[[str], None]
) -> tuple[Mapping[str, Samples], Mapping[float, Samples]]:
    """Return seconds of each dense library, and of the sparse layer at each sparsity."""
    generator = torch.Generator().manual_seed(shape.channels + shape.outputs + shape.kernel)
    conv = torch.nn.Conv2d(
        shape.channels, shape.outputs, shape.kernel, shape.stride, shape.kernel // 2, bias=False
    ).eval()
    with torch.no_grad():
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator))
    x = torch.randn(options.images, shape.channels, shape.size, shape.size, generator=generator)
    with torch.inference_mode():
        calls = dense_calls(conv, x, partial(conv_model, conv), say)
        names = list(calls)
        for sparsity in options.sparsities:
            calls[f"{sparsity}"] = sparse_call(conv, x, sparsity, generator)
        samples = measure([Candidate(name, [call]) for name, call in calls.items()], options.plan)
    dense = {name: samples[name] for name in names}
    return dense, {sparsity: samples[f"{sparsity}"] for sparsity in options.sparsities}


def sparse_call(
    conv: torch.nn.Conv2d, x: Tensor, sparsity: float, generator: torch.Generator
) -> Callable[[], object]:
    """Return the call of the sparse layer, once its result was compared with the dense one's.

    Raises:
        ValueError: if it is wrong.
    """
    mask = torch.rand(conv.weight.shape, generator=generator) >= sparsity
    sparse = SparseConv2d.from_dense(conv, mask).eval()
    if not right(sparse, conv.weight * mask, conv.bias, x, sparse(x)):
        raise ValueError(f"{conv} at {sparsity:.0%}: the sparse result is wrong; run the tests")
    return lambda: sparse(x)


def right(layer: SparseConv2d, weight: Tensor, bias: Tensor | None, x: Tensor, y: Tensor) -> bool:
    """Tell whether y is what a dense layer gives for x, within the rounding of its sums.

    A sum of k products is off by at most k eps times the sum of their sizes.

    Args:
        layer: has the geometry.
        weight: [out, C / groups, kh, kw], dense.
        bias: [out].
        x: [N, C, H, W].
        y: [N, out, H', W'], the sparse layer's result.
    """

    def convolved(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padded = F.pad(x.double(), layer.padding)
        offset = None if bias is None else bias.double()
        options = (layer.stride, 0, layer.dilation, layer.groups)
        return F.conv2d(padded, weight.double(), offset, *options)

    size = convolved(x.abs(), weight.abs(), None if bias is None else bias.abs())
    bound = (weight[0].numel() + 2) * torch.finfo(x.dtype).eps * size
    return bool(((y - convolved(x, weight, bias)).abs() <= bound).all())


def _asked(asked: float | None, got: float) -> str:
    if asked is None:
        return f"-/{got:.2f}"
    return f"{asked:g}/{got:.2f}" + ("" if got >= asked else " miss")
