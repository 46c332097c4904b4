"""Which convolutions are measured, and what is asked of them. How is decided elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.cases import FREE, SPARSITIES, Case

PATTERNS = ("csr", "2:4", "blocks", "rows")
COLUMNS = ("2:4", *(f"{sparsity:.0%}" for sparsity in SPARSITIES))
MOST_ROWS = 0.8
"""Whole outputs and channels are not measured above it: few networks outlive as much."""


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

    @property
    def out_size(self) -> int:
        """Height and width of y."""
        return (self.size + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class ConvCase:
    """One sparse convolution and one batch.

    Args:
        shape: of the convolution and the image.
        images: of the batch.
        pattern: as of `Case`; "rows" are whole outputs and input channels, and the M of "N:M" are
            consecutive input channels.
        sparsity: share of the weights that is zero.
    """

    shape: Shape
    images: int
    pattern: str
    sparsity: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "sparsity", self.layer.sparsity)

    @property
    def layer(self) -> Case:
        """The linear layer that it is: its columns are taps of channels, its rows pixels of y."""
        shape = self.shape
        columns = shape.kernel**2 * shape.channels
        pixels = self.images * shape.out_size**2
        return Case(shape.outputs, columns, pixels, self.pattern, self.sparsity)

    @property
    def label(self) -> str:
        """The case in a word or five."""
        images = "" if self.images == 1 else f" x{self.images}"
        return f"{self.shape.label} {self.column}{images}"

    @property
    def column(self) -> str:
        """Of the target table, as of `Case.column`."""
        return self.layer.column

    @property
    def columns(self) -> dict[str, str]:
        """The case as columns of a CSV file."""
        shape = self.shape
        return {
            "pattern": self.pattern,
            "channels": str(shape.channels),
            "outputs": str(shape.outputs),
            "size": str(shape.size),
            "kernel_size": str(shape.kernel),
            "stride": str(shape.stride),
            "images": str(self.images),
            "sparsity": f"{self.sparsity:g}",
        }

    @property
    def rows(self) -> int:
        """Pixels of y."""
        return self.layer.rows

    @property
    def weights(self) -> int:
        """Weights of the dense convolution."""
        return self.layer.weights

    @property
    def elements(self) -> int:
        """Numbers of x and y."""
        shape = self.shape
        pixels = shape.channels * shape.size**2 + shape.outputs * shape.out_size**2
        return self.images * pixels

    @property
    def cold(self) -> bool:
        """No weight of these is as large."""
        return self.layer.cold


@dataclass(frozen=True)
class ConvTarget:
    """A line of the target table: shapes of ResNet-50, one image, and the speed-up asked."""

    label: str
    shapes: tuple[Shape, ...]
    asked: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many cases of one column it is a mean of."""
        return len(self.shapes)

    def wants(self, case: ConvCase) -> bool:
        """Tell whether a case is one of them, of whatever column."""
        return case.images == 1 and case.shape in self.shapes


def cases(
    shape: Shape, images: int, sparsities: Sequence[float], patterns: Sequence[str]
) -> list[ConvCase]:
    """Return the cases of one shape and batch: they share the dense baselines."""
    found = []
    for pattern in patterns:
        levels = sparsities if pattern in FREE else (0.0,)
        if pattern == "rows":
            levels = [sparsity for sparsity in sparsities if sparsity <= MOST_ROWS]
        found += [ConvCase(shape, images, pattern, sparsity) for sparsity in levels]
    return found


def with_channels(wanted: Sequence[tuple[int, int]]) -> list[Shape]:
    """Return those of `SHAPES` that lead from and to these channels, given as (out, in).

    Raises:
        ValueError: if there is none.
    """
    found = [shape for shape in SHAPES if (shape.outputs, shape.channels) in wanted]
    if not found:
        known = sorted({f"{shape.outputs}x{shape.channels}" for shape in SHAPES})
        raise ValueError(
            f"shapes: wanted output and input channels of a convolution that is measured, one of "
            f"{', '.join(known)}; got {', '.join(f'{out}x{in_}' for out, in_ in wanted)}"
        )
    return found


def _asked(*numbers: float | None) -> dict[str, float | None]:
    return dict(zip(COLUMNS, (None, *numbers), strict=True))


TARGETS = (
    ConvTarget(
        "1x1, H*W >= 784",
        (Shape(64, 256, 56), Shape(256, 64, 56), Shape(128, 512, 28), Shape(512, 128, 28)),
        _asked(1.5, 2.4, 3.5, 6.2, 10),
    ),
    ConvTarget(
        "1x1, H*W <= 196",
        (Shape(256, 1024, 14), Shape(1024, 256, 14), Shape(512, 2048, 7), Shape(2048, 512, 7)),
        _asked(1.3, 2.0, 3.0, 5.0, 7),
    ),
    ConvTarget(
        "3x3 stride 1, W >= 28",
        (Shape(64, 64, 56, 3), Shape(128, 128, 28, 3)),
        _asked(None, 2.0, 2.9, 5.2, 8.5),
    ),
    ConvTarget(
        "3x3 stride 1, W <= 14",
        (Shape(256, 256, 14, 3), Shape(512, 512, 7, 3)),
        _asked(None, 1.7, 2.4, 4.4, 7),
    ),
    ConvTarget(
        "3x3 stride 2",
        (Shape(128, 128, 56, 3, 2), Shape(256, 256, 28, 3, 2), Shape(512, 512, 14, 3, 2)),
        _asked(None, 1.8, 2.6, 4.7, 7.5),
    ),
)

SHAPES = tuple(shape for target in TARGETS for shape in target.shapes)
