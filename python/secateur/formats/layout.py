"""How a weight is cut before it is packed, and how lengths are rounded. No bytes.

The numbers here are defaults for packing; whoever reads a packed weight takes them from its header.
"""

from __future__ import annotations

from dataclasses import dataclass

VALUE_PADDING = 16  # spare zero values, so that a kernel may load whole vectors past the last one
LENGTH_STEPS = 64  # lengths are rounded up to this fraction of the dense size


@dataclass(frozen=True)
class Layout:
    """How a weight is cut before it is packed.

    Args:
        k_block: columns in a K block; at most 256, so that a local column fits one byte.
        row_block: rows in a row block; at most 65535, so that a local row fits two bytes.
    """

    k_block: int = 128
    row_block: int = 256

    def __post_init__(self) -> None:
        if not 1 <= self.k_block <= 256:
            raise ValueError(f"k_block must be in [1, 256], got {self.k_block}")
        if not 1 <= self.row_block <= 65535:
            raise ValueError(f"row_block must be in [1, 65535], got {self.row_block}")

    def k_spans(self, in_features: int) -> list[tuple[int, int]]:
        """Return (start, end) of every K block."""
        return _spans(in_features, self.k_block)

    def row_spans(self, out_features: int) -> list[tuple[int, int]]:
        """Return (start, end) of every row block."""
        return _spans(out_features, self.row_block)


DEFAULT_LAYOUT = Layout()

# Kept fraction below which a K block is wider. A block of x rows must stay in L1, which asks for
# few columns; a row's sums are loaded and stored once a block, which asks for many kept weights.
# Chosen by time on Zen 4 (3072 x 768, 384 rows of x); benchmarks/README.md has the table.
_WIDER = ((0.07, 256), (0.125, 192))


def csr_layout(kept: int, out_features: int, in_features: int) -> Layout:
    """Return the layout in which a csr weight with `kept` weights runs fastest."""
    density = kept / max(1, out_features * in_features)
    for below, k_block in _WIDER:
        if density < below:
            return Layout(k_block)
    return DEFAULT_LAYOUT


# Likewise of a convolution (Zen 3, shapes of ResNet-50): a panel is filled anew for each tile,
# which few outputs do not pay for.
_CONV_WIDE, _CONV_SPARSE, _CONV_OUTPUTS = 256, 0.125, 128


def conv_layout(kept: int, out_features: int, in_features: int) -> Layout:
    """Return the layout in which a csr weight with `kept` weights convolves fastest."""
    density = kept / max(1, out_features * in_features)
    wide = density < _CONV_SPARSE and out_features >= _CONV_OUTPUTS
    return Layout(_CONV_WIDE) if wide else DEFAULT_LAYOUT


def grouped(layout: Layout, out_features: int, groups: int) -> Layout:
    """Return `layout` with row blocks that hold rows of one group each.

    Args:
        layout: how to cut a weight without groups.
        out_features: rows of the weight; a multiple of `groups`.
        groups: of a convolution; the first rows are the first group's.
    """
    rows = out_features // groups
    most = min(layout.row_block, rows)
    return Layout(layout.k_block, next(r for r in range(most, 0, -1) if rows % r == 0))


def round_up(count: int, step: int) -> int:
    """Return the smallest multiple of `step` that is not below `count`."""
    return -(-count // step) * step


def csr_values_length(nnz: int, out_features: int, in_features: int) -> int:
    """Length of a csr `values`: rounded up, so that layers of one shape share few lengths."""
    step = max(VALUE_PADDING, -(-out_features * in_features // LENGTH_STEPS))
    return round_up(nnz + VALUE_PADDING, step)


def _spans(length: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(start + step, length)) for start in range(0, length, step)]
